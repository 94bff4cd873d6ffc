//! Snapshots of real etcds, with the output of `snapshot status` of the same version.

#![allow(dead_code, clippy::disallowed_methods)]

use std::fs;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};

pub struct Fixture {
    /// `3.4-few`.
    pub name: String,
    pub bytes: Vec<u8>,
    pub status: Status,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub hash: u32,
    pub revision: u64,
    pub total_key: u64,
    pub total_size: u64,
}

pub fn fixtures() -> Vec<Fixture> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut names: Vec<String> = fs::read_dir(&dir)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".db.gz").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 18, "{names:?}");
    names.into_iter().map(|name| fixture(&name)).collect()
}

pub fn fixture(name: &str) -> Fixture {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let packed = fs::File::open(dir.join(format!("{name}.db.gz"))).unwrap();
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    let status = fs::read_to_string(dir.join(format!("{name}.json"))).unwrap();
    Fixture { name: name.to_owned(), bytes, status: serde_json::from_str(&status).unwrap() }
}

/// The snapshot with a trailer that matches its current content.
pub fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let body = bytes.len() - 32;
    let sum = Sha256::digest(&bytes[..body]);
    bytes[body..].copy_from_slice(&sum);
    bytes
}
