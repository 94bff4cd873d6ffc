//! Everything that must be good before a change goes in; the tests come last, so that their closing line does.

use std::env;
use std::path::PathBuf;

use crate::error::Result;
use crate::run::{command, step, succeeds};
use crate::{package, setup};

/// Where the lab finds the package that its hosts install.
const DEB: &str = "NIGHTSHIFT_DEB";

pub fn run() -> Result<()> {
    setup::for_tests()?;
    step(&mut command(&["cargo", "fmt", "--all", "--check"]))?;
    step(&mut command(&[
        "cargo",
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    dependencies()?;
    step(
        command(&["cargo", "doc", "--workspace", "--no-deps", "--document-private-items", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    let deb = lab_package()?;
    // Tests of other packages run the program; nothing else would build it for them.
    step(&mut command(&["cargo", "build", "--locked", "--package", "nightshift"]))?;
    step(&mut command(&["cargo", "test", "--workspace", "--doc", "--locked"]))?;
    let mut tests = command(&["cargo", "nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
    tests.envs(deb.map(|path| (DEB, path)));
    step(&mut tests)
}

fn dependencies() -> Result<()> {
    step(&mut command(&["cargo", "deny", "--offline", "check", "bans", "licenses", "sources"]))?;
    if succeeds(&["cargo", "deny", "fetch", "db"]) {
        return step(&mut command(&["cargo", "deny", "check", "--disable-fetch", "advisories"]));
    }
    println!("skipped: advisories: their database cannot be reached from here");
    Ok(())
}

/// The package as its users get it, where there can be hosts to install it on.
fn lab_package() -> Result<Option<PathBuf>> {
    let required = env::var_os("NIGHTSHIFT_LAB").is_some_and(|value| value == "required");
    match kit::lab::available() {
        Err(why) if !required => {
            println!("skipped: the lab: {why}");
            Ok(None)
        }
        _ => package::both().map(|made| Some(made.deb)),
    }
}
