//! What several tests ask of a site once its night is over.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::lab::cmd::{Cmd, poll};
use kit::site::{Ran, Site};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// For what takes a moment.
pub const SOON: Duration = Duration::from_secs(20);
/// For a night with a stage that ends in the next minute.
pub const NIGHT_ENDS: Duration = Duration::from_secs(150);

/// The night that is open on a host, by its name.
pub fn night_of(site: &Site, host: &str) -> String {
    let (_, status) = site.status(host).unwrap();
    status["night"]["record"]["night"].as_str().unwrap().to_owned()
}

/// Where a host keeps a set: its own, or one that it pulled.
pub fn set_folder(site: &Site, keeper: &str, maker: &str, role: &str) -> PathBuf {
    let night = night_of(site, keeper);
    site.host(keeper).vault().join(&site.host(maker).name).join(night).join(role)
}

/// Waits until a set is published in a host's vault.
pub fn wait_for_set(site: &Site, keeper: &str, maker: &str, role: &str) {
    let manifest = set_folder(site, keeper, maker, role).join("manifest.json");
    poll(&format!("{}", manifest.display()), SOON, || {
        if manifest.exists() { Ok(()) } else { Err(site.log(keeper)) }
    })
    .unwrap();
}

/// How a stage of the status ended.
pub fn outcome<'a>(status: &'a Value, stage: &str) -> &'a str {
    status["night"]["record"]["stages"][stage]["outcome"].as_str().unwrap_or("none")
}

pub fn reason<'a>(status: &'a Value, stage: &str) -> &'a str {
    status["night"]["record"]["stages"][stage]["reason"].as_str().unwrap_or("none")
}

pub fn verdict(status: &Value) -> &str {
    status["night"]["verdict"].as_str().unwrap()
}

/// What the record says of a set, newest word first.
pub fn set_report<'a>(status: &'a Value, host: &str, role: &str) -> &'a Value {
    let reports = status["night"]["record"]["sets"].as_array().unwrap();
    reports
        .iter()
        .rev()
        .find(|report| report["set"]["role"] == role && report["set"]["host"] == host)
        .unwrap_or_else(|| panic!("no word of {host} {role}: {reports:#?}"))
}

/// Every set in a host's vault with the hash of its manifest.
pub fn sets(site: &Site, host: &str) -> BTreeMap<String, String> {
    let ran = good(site.run(host, &["sets", "--json"]).unwrap());
    let rows: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.iter().map(|row| (text(&row["set"]), text(&row["manifest_sha256"]))).collect()
}

/// A command that has to go well.
pub fn good(ran: Ran) -> Ran {
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

/// A command that has to end with this code.
pub fn ends_with(ran: Ran, code: i32) -> Ran {
    assert_eq!(ran.code, code, "{ran:?}");
    ran
}

/// Every file below a folder by its relative path, with its SHA-256.
pub fn hashes(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, sha256(&fs::read(&path).unwrap()));
            }
        }
    }
    found
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The names of what lies in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(listing) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        listing.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The one archive in a folder.
pub fn archive_in(folder: &Path) -> PathBuf {
    let archives: Vec<String> =
        names(folder).into_iter().filter(|name| name.ends_with(".tgz") || name.ends_with(".age")).collect();
    assert_eq!(archives.len(), 1, "{:?}", names(folder));
    folder.join(&archives[0])
}

/// Bytes that no compression makes smaller, the same ones each time.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Runs a shell line with its words as `$1` and so on; it has to go well.
pub fn shell(line: &str, words: &[&Path]) -> String {
    Cmd::new("sh")
        .args(["-euc", line, "sh"])
        .args(words)
        .timeout(Duration::from_secs(60))
        .run()
        .unwrap()
        .text()
}

/// Whether a program is installed; a test that needs it is skipped where it is not.
pub fn has(program: &str) -> Result<(), String> {
    Cmd::new("sh")
        .args(["-c", "command -v \"$1\"", "sh", program])
        .run()
        .map(drop)
        .map_err(|_| format!("{program} is not installed"))
}
