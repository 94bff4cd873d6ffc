//! Reads samples from disk and loads them.
#![allow(dead_code)] // not every suite uses every part

use std::fs;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use nightshift_config::{Context, Diagnostics, Loaded, Source, load};

/// The hostname under which a sample is loaded, unless its first line is `# on HOSTNAME`.
const HOSTNAME: &str = "master1.example.com";
/// Starts a further file in a sample.
const FILE: &str = "#--- ";
pub const CONFIG_DIR: &str = "/etc/nightshift";

/// A path of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn files_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "UTC" => Some(TimeZone::UTC),
        "Europe/Berlin" => TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").ok(),
        _ => None,
    }
}

/// The files in a sample: the config, and a drop-in after each line `#--- conf.d/NAME`.
pub fn sources(sample: &str) -> Vec<Source> {
    let mut sources = vec![Source { name: format!("{CONFIG_DIR}/nightshift.toml"), text: String::new() }];
    for line in sample.split_inclusive('\n') {
        if let Some(name) = line.strip_prefix(FILE) {
            sources.push(Source { name: format!("{CONFIG_DIR}/{}", name.trim()), text: String::new() });
        } else {
            sources.last_mut().unwrap().text.push_str(line);
        }
    }
    sources
}

pub fn load_sources(sources: &[Source], hostname: &str) -> Result<Loaded, Diagnostics> {
    let context = Context {
        hostname: hostname.to_owned(),
        system_zone: TimeZone::UTC,
        zone_lookup: &zone,
        config_dir: PathBuf::from(CONFIG_DIR),
    };
    load(sources, &context)
}

pub fn hostname(sample: &str) -> &str {
    sample.lines().next().and_then(|line| line.strip_prefix("# on ")).unwrap_or(HOSTNAME)
}

pub fn load_sample(sample: &str) -> Result<Loaded, Diagnostics> {
    load_sources(&sources(sample), hostname(sample))
}
