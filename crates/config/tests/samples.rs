//! Good and bad configs as data, the bad ones with the exact text of their diagnostics.
//!
//! `UPDATE_EXPECTED=1` rewrites the expected texts; review the diff before you commit it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::disallowed_methods)]

mod support;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use support::{files_in, load_sample, load_sources, read, repository, sources};

/// The samples of a directory. It fails if a file belongs to no sample.
fn samples(directory: &str) -> Vec<PathBuf> {
    let files = files_in(&repository(directory));
    let samples: Vec<PathBuf> =
        files.iter().filter(|file| file.extension().is_some_and(|e| e == "toml")).cloned().collect();
    let known: BTreeSet<PathBuf> =
        samples.iter().flat_map(|sample| [sample.clone(), sample.with_extension("expected")]).collect();
    let orphans: Vec<_> = files.iter().filter(|file| !known.contains(*file)).collect();
    assert!(orphans.is_empty(), "these belong to no sample: {orphans:?}");
    samples
}

/// Compares with the expected text beside a sample, or writes it. Returns whether they are equal.
fn agrees(sample: &Path, text: &str) -> bool {
    let path = sample.with_extension("expected");
    let text = if text.is_empty() { String::new() } else { format!("{text}\n") };
    if env::var_os("UPDATE_EXPECTED").is_some() {
        if text.is_empty() {
            let _ = fs::remove_file(path);
        } else {
            fs::write(path, text).unwrap();
        }
        return true;
    }
    let expected = if path.exists() { read(&path) } else { String::new() };
    if text == expected {
        return true;
    }
    eprintln!("{}: expected\n{expected}\ngot\n{text}", sample.display());
    false
}

fn names(samples: &[PathBuf]) -> Vec<String> {
    samples.iter().map(|sample| sample.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_bad_sample_is_refused_with_the_expected_diagnostics() {
    let samples = samples("tests/data/config/bad");
    assert!(samples.len() >= 30, "only {} bad samples", samples.len());
    let wrong: Vec<PathBuf> = samples
        .into_iter()
        .filter(|sample| match load_sample(&read(sample)) {
            Ok(_) => {
                eprintln!("{}: was accepted", sample.display());
                true
            }
            Err(diagnostics) => !agrees(sample, &diagnostics.to_string()),
        })
        .collect();
    assert!(wrong.is_empty(), "not as expected: {:?}", names(&wrong));
}

#[test]
fn every_good_sample_is_accepted_with_the_expected_warnings() {
    let samples = samples("tests/data/config/good");
    let wrong: Vec<PathBuf> = samples
        .into_iter()
        .filter(|sample| match load_sample(&read(sample)) {
            Ok(loaded) => {
                let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
                !agrees(sample, &warnings.join("\n\n"))
            }
            Err(diagnostics) => {
                eprintln!("{}:\n{diagnostics}", sample.display());
                true
            }
        })
        .collect();
    assert!(wrong.is_empty(), "not as expected: {:?}", names(&wrong));
}

#[test]
fn the_shown_config_loads_to_the_same_settings() {
    for sample in samples("tests/data/config/good") {
        let text = read(&sample);
        let loaded = load_sample(&text).unwrap_or_else(|error| panic!("{}:\n{error}", sample.display()));
        let shown = loaded.show();
        let again = load_sources(&sources(&shown), support::hostname(&text))
            .unwrap_or_else(|error| panic!("{}:\n{error}\n{shown}", sample.display()));
        assert_eq!(again.settings, loaded.settings, "{}", sample.display());
    }
}
