//! `cargo xtask bench`: nightshift beside what a user would otherwise use, in the same run, as ratios.
//!
//! Nothing here asserts a time. What was measured, and which targets it missed, stands in BENCHMARKS.md.

mod etcd;
mod idle;
mod machine;
mod measure;
mod process;
mod row;
mod snapshot;
mod transfer;
mod worker;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::run::{command, step};
use crate::{setup, workspace};

use row::Row;

/// How often each contestant runs; the medians are compared.
const ROUNDS: usize = 3;

/// A part of the page, measured on its own.
struct Part {
    name: &'static str,
    title: &'static str,
    about: &'static str,
    measure: fn() -> Result<Vec<Row>>,
}

const PARTS: [Part; 4] = [
    Part { name: "etcd", title: "The etcd stage", about: etcd::ABOUT, measure: etcd::rows },
    Part {
        name: "snapshot",
        title: "Snapshots read and drilled",
        about: snapshot::ABOUT,
        measure: snapshot::rows,
    },
    Part {
        name: "transfer",
        title: "One large file over SFTP",
        about: transfer::ABOUT,
        measure: transfer::rows,
    },
    Part { name: "idle", title: "The daemon between nights", about: idle::ABOUT, measure: idle::rows },
];

const INTRODUCTION: &str = "\
# Benchmarks

Written by `cargo xtask bench`, which measures nightshift beside what a user would otherwise use: both in the same run, \
in turns, on an otherwise idle machine, with everything over loopback. A figure is the median of the runs, with the \
smallest and the largest beside it; the ratio is that of the medians. `cargo xtask bench PART` measures one part anew.
";

/// Measures the named parts, or all of them, and writes the page from what was measured last of each.
pub fn run(names: &[&str]) -> Result<()> {
    if let Some(name) = names.iter().find(|name| PARTS.iter().all(|part| part.name != **name)) {
        let parts = PARTS.map(|part| part.name).join(", ");
        return Err(Error::Missing(format!("there is no benchmark `{name}`: they are {parts}")));
    }
    setup::for_servers()?;
    build()?;
    for part in PARTS.iter().filter(|part| names.is_empty() || names.contains(&part.name)) {
        measure(part)?;
    }
    write_page()
}

/// What is measured is built as it is shipped.
fn build() -> Result<()> {
    step(&mut command(&["cargo", "build", "--release", "--locked", "--package", "nightshift"]))?;
    step(command(&["cargo", "build", "--release", "--locked", "--examples"]).args([
        "--package",
        "nightshift-engine",
        "--package",
        "nightshift-snapshot",
        "--package",
        "nightshift-ssh",
    ]))
}

fn measure(part: &Part) -> Result<()> {
    let busy = machine::wait_until_quiet()?;
    println!("\n{}", part.title);
    let begun = Instant::now();
    let rows = (part.measure)()?;
    println!("  ({} s)", begun.elapsed().as_secs());
    let state = machine::describe(busy)?;
    let text = format!("## {}\n\n{}\n\n{state}\n\n{}", part.title, part.about, row::table(&rows));
    let path = section(part);
    fs::write(&path, text).map_err(Error::io("write", &path))
}

/// The page of all parts; one that was never measured here is left out, and named.
fn write_page() -> Result<()> {
    let mut page = INTRODUCTION.to_owned();
    for part in &PARTS {
        match fs::read_to_string(section(part)) {
            Ok(text) => page.push_str(&format!("\n{text}")),
            Err(_) => println!("not measured yet: cargo xtask bench {}", part.name),
        }
    }
    let path = workspace::root().join("BENCHMARKS.md");
    fs::write(&path, page).map_err(Error::io("write", &path))?;
    println!("\nwritten: {}", path.display());
    Ok(())
}

/// Where a part's text waits for the others.
fn section(part: &Part) -> PathBuf {
    folder().join(part.name).with_extension("md")
}

/// Everything that is made for a benchmark lies here, on the disk that the build lies on.
fn folder() -> PathBuf {
    workspace::root().join("target/bench")
}

/// A folder that is empty now.
fn fresh(name: &str) -> Result<PathBuf> {
    let path = folder().join(name);
    if path.exists() {
        fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
    }
    fs::create_dir_all(&path).map_err(Error::io("make", &path))?;
    Ok(path)
}
