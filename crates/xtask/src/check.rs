//! `cargo xtask check [CRATE]`: the checks that a change needs while it is being made; `cargo xtask test` makes all of them.

use source::Package;

use crate::error::{Error, Result};
use crate::run::{command, output, step};
use crate::setup;

const NEXTEST: &[&str] = &["cargo", "nextest", "run", "--locked"];

/// Format, then clippy and the unit tests of the crates, then the tidy rules.
pub fn run(names: &[&str]) -> Result<()> {
    setup::for_checks()?;
    let all = source::packages()?;
    let crates = if names.is_empty() {
        changed(&all)
    } else {
        names.iter().map(|name| find(&all, name)).collect::<Result<_>>()?
    };
    step(&mut command(&["cargo", "fmt", "--all", "--check"]))?;
    if crates.is_empty() {
        println!("\nno crate differs from main: checking format and the tidy rules only");
    } else {
        clippy(&crates)?;
        unit_tests(&crates)?;
    }
    step(command(NEXTEST).args(["--package", "nightshift-tests", "--test", "tidy"]))
}

fn clippy(crates: &[&Package]) -> Result<()> {
    let mut clippy = command(&["cargo", "clippy", "--locked", "--all-targets"]);
    step(clippy.args(packages(crates)).args(["--", "--deny", "warnings"]))
}

fn unit_tests(crates: &[&Package]) -> Result<()> {
    let mut tests = command(NEXTEST);
    tests.args(packages(crates)).args(["--no-tests", "pass", "--bins"]);
    // cargo refuses `--lib` where none of the crates has a library.
    if crates.iter().any(|package| package.library().is_some()) {
        tests.arg("--lib");
    }
    step(&mut tests)
}

fn packages<'a>(crates: &'a [&Package]) -> impl Iterator<Item = &'a str> {
    crates.iter().flat_map(|package| ["--package", package.name.as_str()])
}

/// By the name of its package or of its directory.
fn find<'a>(all: &'a [Package], name: &str) -> Result<&'a Package> {
    let is_named = |package: &&Package| {
        package.name == name || package.directory().file_name().is_some_and(|last| last == name)
    };
    all.iter().find(is_named).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|package| package.name.as_str()).collect();
        Error::Missing(format!("unknown crate {name}; the crates are {}", names.join(", ")))
    })
}

/// The crates with files that differ from main, committed or not: all of them where a file differs that can concern each,
/// or where git cannot compare.
fn changed(all: &[Package]) -> Vec<&Package> {
    let Some(files) = changed_files() else {
        println!("cannot compare with main: checking every crate");
        return all.iter().collect();
    };
    if files.iter().any(|file| ["Cargo.toml", "Cargo.lock", "clippy.toml"].contains(&file.as_str())) {
        return all.iter().collect();
    }
    let owners: Vec<&str> =
        files.iter().filter_map(|file| owner(all, file)).map(|package| package.name.as_str()).collect();
    all.iter().filter(|package| owners.contains(&package.name.as_str())).collect()
}

/// The crate whose directory is the nearest above the file: one crate is inside another's directory.
fn owner<'a>(all: &'a [Package], file: &str) -> Option<&'a Package> {
    let path = source::root().join(file);
    let above = all.iter().filter(|package| path.starts_with(package.directory()));
    above.max_by_key(|package| package.directory().components().count())
}

/// Relative to the top of the workspace.
fn changed_files() -> Option<Vec<String>> {
    let base = output(&["git", "merge-base", "HEAD", "main"])?;
    let tracked = output(&["git", "diff", "--name-only", &base])?;
    let untracked = output(&["git", "ls-files", "--others", "--exclude-standard"])?;
    Some(tracked.lines().chain(untracked.lines()).map(str::to_owned).collect())
}
