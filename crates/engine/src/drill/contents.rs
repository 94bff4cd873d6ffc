//! What the stored copy itself says that it holds, read key by key: what the restored etcd is held against.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nightshift_snapshot::{Change, Facts, Location, Visitor, walk};

use super::fault::{Fault, Here as _};
use crate::offload;

/// The prefixes that are compared each on its own: the largest ones.
const MOST_PREFIXES: usize = 50;
/// Findings that are told; there may be one for each page.
const TOLD: usize = 5;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The last one in the database.
    pub revision: i64,
    pub compacted: i64,
    /// Keys that a client would see.
    pub live: u64,
    /// Of all buckets.
    pub entries: u64,
    /// Live keys below each prefix.
    pub prefixes: Vec<(Vec<u8>, u64)>,
    /// Whether authentication is on in it.
    pub auth: bool,
}

/// Walks a database; a finding is the copy's fault.
pub async fn read(db: PathBuf) -> Result<Contents, Fault> {
    offload::run(move || walk_file(&db)).await
}

fn walk_file(db: &Path) -> Result<Contents, Fault> {
    let doing = || format!("{} cannot be read", db.display());
    let file = File::open(db).here(doing)?;
    let mut live = Live::default();
    let report = walk(&file, &mut live).here(doing)?;
    if !report.is_sound() {
        let told: Vec<String> = report.findings.iter().take(TOLD).map(ToString::to_string).collect();
        return Err(Fault::Copy(format!("the stored copy is damaged: {}", told.join("; "))));
    }
    let Facts { revision, compacted, entries, auth_enabled, .. } = report.facts;
    let signed = |number: Option<u64>| i64::try_from(number.unwrap_or(0)).unwrap_or(i64::MAX);
    Ok(Contents {
        revision: signed(revision),
        compacted: signed(compacted),
        live: live.keys.len() as u64,
        entries: entries.unwrap_or(0),
        prefixes: live.prefixes(),
        auth: auth_enabled.unwrap_or(false),
    })
}

/// The keys that live. The restored etcd will hold as much in memory, and more.
#[derive(Debug, Default)]
struct Live {
    keys: HashSet<Vec<u8>>,
}

impl Visitor for Live {
    fn change(&mut self, change: &Change<'_>, _: Location) -> io::Result<()> {
        let key = change.content.key;
        if change.tombstone {
            self.keys.remove(key);
        } else if !key.is_empty() && !self.keys.contains(key) {
            self.keys.insert(key.to_vec());
        }
        Ok(())
    }
}

impl Live {
    /// The largest groups of keys with the same first two names: `/registry/pods/`.
    fn prefixes(&self) -> Vec<(Vec<u8>, u64)> {
        let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
        for prefix in self.keys.iter().filter_map(|key| prefix_of(key)) {
            *counts.entry(prefix).or_default() += 1;
        }
        let mut largest: Vec<(&[u8], u64)> = counts.into_iter().collect();
        largest.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        largest.truncate(MOST_PREFIXES);
        largest.sort_unstable();
        largest.into_iter().map(|(prefix, count)| (prefix.to_vec(), count)).collect()
    }
}

fn prefix_of(key: &[u8]) -> Option<&[u8]> {
    let mut slashes = key.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let first = slashes.next()?;
    let further = if first == 0 { slashes.nth(1)? } else { slashes.next()? };
    Some(&key[..=further])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_by_their_first_two_names() {
        for (key, prefix) in [
            (&b"/registry/pods/ns/a"[..], Some(&b"/registry/pods/"[..])),
            (b"registry/pods/ns", Some(b"registry/pods/")),
            (b"/registry/pods", None),
            (b"plain", None),
            (b"", None),
        ] {
            assert_eq!(prefix_of(key), prefix, "{}", String::from_utf8_lossy(key));
        }
        let keys = ["/a/b/1", "/a/b/2", "/a/c/1", "x"].map(|key| key.as_bytes().to_vec()).into();
        assert_eq!(Live { keys }.prefixes(), [(b"/a/b/".to_vec(), 2), (b"/a/c/".to_vec(), 1)]);
    }

    #[test]
    fn what_is_no_database_is_the_copys_fault() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("db");
        std::fs::write(&db, [7; 8192]).unwrap();
        assert!(matches!(walk_file(&db), Err(Fault::Copy(_))));
        assert!(matches!(walk_file(&folder.path().join("gone")), Err(Fault::Here(_))));
    }
}
