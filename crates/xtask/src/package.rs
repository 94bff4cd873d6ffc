//! Both packages, in target/packages/: made of the release build, then smoke-tested.

use std::path::PathBuf;

use kit::lab::Contents;

use crate::error::Result;
use crate::run::{command, step};
use crate::{setup, workspace};

struct Packages {
    deb: PathBuf,
    rpm: PathBuf,
}

pub fn run() -> Result<()> {
    setup::for_packages()?;
    let made = make()?;
    smoke_test(&made)?;
    println!("\n{}\n{}", made.deb.display(), made.rpm.display());
    Ok(())
}

fn make() -> Result<Packages> {
    step(&mut command(&["cargo", "build", "--release", "--locked", "--package", "nightshift"]))?;
    let contents = Contents::of(&workspace::release().join("nightshift"), &workspace::packages())?;
    Ok(Packages { deb: contents.pack("deb")?, rpm: contents.pack("rpm")? })
}

/// The tests in tests/packages: what they contain, and whether a fresh host starts what it installed.
fn smoke_test(made: &Packages) -> Result<()> {
    let line = ["cargo", "nextest", "run", "--locked", "--package", "nightshift-tests", "--test", "packages"];
    // The default filter leaves these tests out of a run that has no packages to test.
    let mut tests = command(&line);
    tests.arg("--ignore-default-filter").env("NIGHTSHIFT_DEB", &made.deb).env("NIGHTSHIFT_RPM", &made.rpm);
    step(&mut tests)
}
