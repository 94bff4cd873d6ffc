//! The power-cut tests of the store, with a store that syncs nothing: each must fail there, else it proves nothing.

use std::process::Command;

use crate::error::{Error, Result};
use crate::run::{command, show, step};
use crate::workspace;

/// Built for the store alone, in a directory of its own; its dependencies without optimisation, because the tests write
/// only a few megabytes.
fn cargo() -> Command {
    let mut cargo =
        command(&["cargo", "test", "--locked", "--package", "nightshift-store", "--test", "power_cut"]);
    cargo.args(["--config", "profile.dev.package.'*'.opt-level=0", "--target-dir"]);
    cargo.arg(workspace::target().join("no-sync"));
    cargo.env("RUSTFLAGS", "--cfg nightshift_no_sync");
    cargo
}

pub fn must_fail() -> Result<()> {
    step(cargo().arg("--no-run"))?;
    let mut tests = cargo();
    tests.args(["--", "--nocapture"]);
    let line = show(&tests);
    let output = tests.output().map_err(|source| Error::Start { line: line.clone(), source })?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if let Some(skipped) = printed.lines().find(|line| line.starts_with("skipped: ")) {
        println!("{skipped}");
        return Ok(());
    }
    match printed.lines().find(|line| line.starts_with("test result: ")) {
        Some(result) if result.starts_with("test result: FAILED. 0 ") => {
            println!("as expected without syncs: {result}");
            Ok(())
        }
        result => Err(Error::Undetected { line, result: result.unwrap_or("no result").to_owned() }),
    }
}
