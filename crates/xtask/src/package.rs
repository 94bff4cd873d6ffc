//! The packages, in target/packages/: made of a release build for old and new distributions, then smoke-tested.

mod program;
mod sums;

use std::fs;
use std::path::{Path, PathBuf};

use kit::lab::Contents;

use crate::error::{Error, Result};
use crate::run::{command, output, step};
use crate::{setup, workspace};

struct Packages {
    deb: PathBuf,
    rpm: PathBuf,
    el7: PathBuf,
}

/// Builds the program that the packages contain.
pub fn program() -> Result<PathBuf> {
    program::build(workspace::root(), &workspace::target())
}

pub fn run() -> Result<()> {
    setup::for_packages()?;
    let packages = workspace::packages();
    let program = program()?;
    let made = make(&program, &packages)?;
    smoke_test(&made)?;
    sums::write(&packages)?;
    println!("\n{}\n{}\n{}", made.deb.display(), made.rpm.display(), made.el7.display());
    Ok(())
}

/// Builds them a second time, in a clone in another directory, and compares.
pub fn twice() -> Result<()> {
    run()?;
    let first = sums::of(&workspace::packages())?;
    let again = workspace::target().join("again");
    workspace::emptied(&again)?;
    let (clone, target) = (again.join("clone"), again.join("target"));
    step(command(&["git", "clone", "--quiet"]).arg(workspace::root()).arg(&clone))?;
    let program = program::build(&clone, &target)?;
    let packages = again.join("packages");
    make(&program, &packages)?;
    let second = sums::of(&packages)?;
    if first != second {
        return Err(Error::Missing(format!(
            "two builds differ; the second one is of the last commit:\n{first}\n{second}"
        )));
    }
    println!("\nbuilt twice, and equal:\n{first}");
    Ok(())
}

fn make(program: &Path, packages: &Path) -> Result<Packages> {
    let contents = Contents::of(program, packages)?.built_at(&time_of_commit()?);
    if contents.glibc() != program::OLDEST_GLIBC {
        return Err(Error::Missing(format!(
            "{} needs glibc {}, and must run on {}",
            program.display(),
            contents.glibc(),
            program::OLDEST_GLIBC
        )));
    }
    // The last one also ends in .rpm.
    let made = Packages { deb: contents.pack("deb")?, rpm: contents.pack("rpm")?, el7: contents.pack_el7()? };
    let components = packages.join("nightshift.cdx.json");
    fs::write(&components, program::components(program)?).map_err(Error::io("write", components))?;
    Ok(made)
}

/// Seconds of the Unix epoch. The packages' files have this time, so that a second build is equal.
fn time_of_commit() -> Result<String> {
    output(&["git", "log", "-1", "--format=%ct"])
        .ok_or_else(|| Error::Missing("`git log` names no commit to take the packages' time from".to_owned()))
}

/// The tests in tests/packages: what they contain, and whether a fresh host starts what it installed.
fn smoke_test(made: &Packages) -> Result<()> {
    let line = ["cargo", "nextest", "run", "--locked", "--package", "nightshift-tests", "--test", "packages"];
    // The default filter leaves these tests out of a run that has no packages to test.
    let mut tests = command(&line);
    tests.arg("--ignore-default-filter").env("NIGHTSHIFT_DEB", &made.deb).env("NIGHTSHIFT_RPM", &made.rpm);
    tests.env("NIGHTSHIFT_EL7_RPM", &made.el7);
    step(&mut tests)
}
