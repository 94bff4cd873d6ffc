//! `cargo xtask bench`: nightshift beside what a user would otherwise use, in the same run, as ratios.
//!
//! Nothing here asserts a time. BENCHMARKS.md has the measurements and the targets that were missed.

mod directory;
mod etcd;
mod idle;
mod machine;
mod measure;
mod process;
mod restore;
mod row;
mod snapshot;
mod transfer;
mod worker;

use std::fs;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::run::{command, step};
use crate::{setup, workspace};

use row::Row;

/// A part of the page, measured on its own.
struct Part {
    name: &'static str,
    title: &'static str,
    about: &'static str,
    measure: fn() -> Result<Vec<Row>>,
}

const PARTS: [Part; 5] = [
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
    Part { name: "restore", title: "A lost cluster restored", about: restore::ABOUT, measure: restore::rows },
    Part { name: "idle", title: "The daemon between nights", about: idle::ABOUT, measure: idle::rows },
];

const INTRODUCTION: &str = "\
# Benchmarks

Written by `cargo xtask bench`, which measures nightshift beside what a user would otherwise use: both in the same run, \
in turns, on an otherwise idle machine, with everything over loopback. A figure is the median of the runs, with the \
smallest and the largest beside it; the ratio is that of the medians. `cargo xtask bench PART` measures one part anew.
";

/// Measures the named parts, or all of them; on the page the others stay as they are.
pub fn run(names: &[&str]) -> Result<()> {
    if let Some(name) = names.iter().find(|name| PARTS.iter().all(|part| part.name != **name)) {
        let parts = PARTS.map(|part| part.name).join(", ");
        return Err(Error::Missing(format!("there is no benchmark `{name}`: they are {parts}")));
    }
    setup::for_servers()?;
    build()?;
    for part in PARTS.iter().filter(|part| names.is_empty() || names.contains(&part.name)) {
        let text = measure(part)?;
        write_page(part, &text)?;
    }
    Ok(())
}

/// What is measured is built as it is shipped.
fn build() -> Result<()> {
    step(&mut command(&["cargo", "build", "--release", "--locked", "--package", "nightshift"]))?;
    step(command(&["cargo", "build", "--release", "--locked", "--examples"]).args([
        "--package",
        "nightshift-engine",
        "--package",
        "nightshift-etcd",
        "--package",
        "nightshift-snapshot",
        "--package",
        "nightshift-ssh",
    ]))
}

fn measure(part: &Part) -> Result<String> {
    let busy = machine::wait_until_quiet()?;
    println!("\n{}", part.title);
    let begun = Instant::now();
    let rows = (part.measure)()?;
    println!("  ({} s)", begun.elapsed().as_secs());
    let state = machine::describe(busy)?;
    Ok(format!("{}\n\n{}\n\n{state}\n\n{}", part.title, part.about, row::table(&rows)))
}

/// The page with one part new; one that was never measured is left out, and named.
fn write_page(measured: &Part, text: &str) -> Result<()> {
    let path = workspace::root().join("BENCHMARKS.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    let mut page = INTRODUCTION.to_owned();
    for part in &PARTS {
        let kept = before.split("\n## ").find(|section| section.starts_with(part.title));
        match if part.name == measured.name { Some(text) } else { kept } {
            Some(text) => page.push_str(&format!("\n## {}\n", text.trim_end())),
            None => println!("not measured yet: cargo xtask bench {}", part.name),
        }
    }
    fs::write(&path, page).map_err(Error::io("write", &path))?;
    println!("\nwritten: {}", path.display());
    Ok(())
}
