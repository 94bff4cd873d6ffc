//! `cargo xtask house`: how large each crate is, and which of its files use one another in a circle.

mod circles;
mod names;
mod uses;

#[cfg(test)]
mod tests;

use source::{File, Kind, Package};

use crate::error::Result;

/// The largest share of all product lines that one crate may have, in percent.
const MAX_SHARE: usize = 25;

const LEGEND: &str = "\
Lines: all of them, with comments and empty lines, of the files that a crate's library and program compile. Left out are
what only tests compile and generated code. The share is that of all product code: the project's own commands and the
tests' kit are not part of it.";

const CIRCLES: &str = "\
A circle: each of its files uses an item that another defines, and is used by one in turn. `mod` and re-exports do not
count: what comes through a re-export comes from the file that defines it. Seen are imports, paths in code and in macros'
arguments, and functions called as `Type::function` or `self.function()`. Not seen are functions called on other values,
and what other crates' macros generate.";

/// Prints the tables. Says whether every crate keeps within its limits.
pub fn run() -> Result<bool> {
    let mut crates: Vec<Crate> = source::packages()?.into_iter().map(Crate::read).collect::<Result<_>>()?;
    // The integration suite has tests alone.
    crates.retain(|one| !one.files.is_empty());
    let all: usize = crates.iter().filter(|one| one.is_product()).map(|one| one.lines).sum();
    println!("{:<20}{:>6}{:>8}{:>9}", "crate", "files", "lines", "share");
    for one in &crates {
        let share = if one.is_product() { share(one.lines, all) } else { "-".to_owned() };
        println!("{:<20}{:>6}{:>8}{share:>9}", one.package.name, one.files.len(), one.lines);
    }
    println!("{:<20}{:>6}{all:>8}\n\n{LEGEND}\n\n{CIRCLES}\n", "product", "");
    let circles: Vec<String> = crates.iter().map(Crate::circles).collect::<Result<Vec<_>>>()?.concat();
    circles.iter().for_each(|circle| println!("{circle}"));
    let large = crates.iter().filter(|one| one.is_product() && one.lines * 100 > all * MAX_SHARE);
    let large: Vec<&str> = large.map(|one| one.package.name.as_str()).collect();
    println!("circles: {}", circles.len());
    println!("crates with more than {MAX_SHARE} % of the lines: {}", or_none(&large.join(", ")));
    Ok(circles.is_empty() && large.is_empty())
}

fn share(lines: usize, all: usize) -> String {
    let tenths = lines * 1000 / all.max(1);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

struct Crate {
    package: Package,
    /// Those with product code.
    files: Vec<File>,
    lines: usize,
}

impl Crate {
    fn read(package: Package) -> Result<Self> {
        let mut files = source::files(&package)?;
        files.retain(|file| file.kind == Kind::Product);
        let lines = files.iter().map(|file| file.product.lines().count()).sum();
        Ok(Self { package, files, lines })
    }

    fn is_product(&self) -> bool {
        let directory = self.package.directory();
        directory.parent() == Some(&source::root().join("crates")) && self.package.name != "xtask"
    }

    fn circles(&self) -> Result<Vec<String>> {
        circles_of(&self.files, self.package.library())
    }
}

/// Each circle as lines: its files, then each arrow with the names used.
fn circles_of(files: &[File], library: Option<String>) -> Result<Vec<String>> {
    let syntax = files.iter().map(File::syntax).collect::<std::result::Result<Vec<_>, _>>()?;
    let arrows = uses::arrows(files, &syntax, library);
    let path = |file: usize| files.get(file).map_or_else(String::new, |file| file.path.display().to_string());
    let describe = |circle: Vec<usize>| {
        let names: Vec<String> = circle.iter().map(|file| path(*file)).collect();
        let mut text = format!("a circle of {} files: {}\n", circle.len(), names.join(", "));
        for ((from, to), names) in &arrows {
            if circle.contains(from) && circle.contains(to) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                text += &format!("  {} -> {}: {}\n", path(*from), path(*to), names.join(", "));
            }
        }
        text
    };
    Ok(circles::circles(&arrows).into_iter().map(describe).collect())
}
