//! How long a file may be, and that each belongs to its crate. The length of functions is clippy's to check.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use source::Package;

use crate::rule::{Source, enforce};

/// Lines without test items.
const MAX_LINES: usize = 400;
const MAX_MAIN_LINES: usize = 12;

fn too_long(file: &Source) -> Vec<String> {
    let most = if file.name == "crates/nightshift/src/main.rs" { MAX_MAIN_LINES } else { MAX_LINES };
    let long = (file.lines > most).then(|| format!("{}: {} lines, at most {most}", file.name, file.lines));
    long.into_iter().collect()
}

#[test]
fn no_file_is_longer_than_one_idea_and_main_only_opens_the_door() {
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(500));
    enforce(
        too_long,
        &[
            ("crates/core/src/a.rs", &"\n".repeat(401)),
            ("crates/core/src/b.rs", &format!("{tests}{}", "\n".repeat(401))),
            ("crates/nightshift/src/main.rs", &"\n".repeat(13)),
        ],
        &[("crates/core/src/a.rs", &"\n".repeat(400)), ("crates/core/src/b.rs", &tests)],
    );
}

/// The files of a directory that no `mod` leads to from the roots of the crate.
fn orphans(directory: &Path, reached: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory of the workspace") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(orphans(&path, reached));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !reached.contains(&path) {
            found.push(path);
        }
    }
    found
}

fn orphans_of(package: &Package) -> Vec<PathBuf> {
    let files = source::files(package).expect("the files of a crate");
    let reached = files.iter().map(|file| source::root().join(&file.path)).collect();
    orphans(&package.directory().join("src"), &reached)
}

#[test]
fn every_file_belongs_to_its_crate() {
    let sample = tempfile::tempdir().expect("a directory");
    for (name, text) in
        [("lib.rs", "mod a;\n#[cfg(test)]\nmod b;\n"), ("a.rs", ""), ("b.rs", ""), ("c.rs", "")]
    {
        fs::write(sample.path().join(name), text).expect("a file");
    }
    let reached = source::files_from(&sample.path().join("lib.rs")).expect("a crate");
    let reached = reached.into_iter().map(|file| file.path).collect();
    assert_eq!(orphans(sample.path(), &reached), [sample.path().join("c.rs")]);

    let crates = source::root().join("crates");
    let packages = source::packages().expect("the members of the workspace");
    let packages = packages.iter().filter(|package| package.directory().starts_with(&crates));
    let orphans: Vec<PathBuf> = packages.flat_map(orphans_of).collect();
    assert!(orphans.is_empty(), "no module names these: {orphans:#?}");
}
