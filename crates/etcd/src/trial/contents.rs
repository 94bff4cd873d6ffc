//! What the stored copy contains, read key by key, to compare the restored etcd with it.

use std::fs::File;
use std::path::{Path, PathBuf};

use nightshift_core::secrets::SecretsReport;
use nightshift_snapshot::{Ending, Facts, IndexBuilder, IndexOptions, Tally, walk_hashed, walk_member};
use nightshift_store::offload;

use super::fault::{Fault, Here as _};
use super::secrets::MasterKeys;

/// The number of prefixes whose keys are counted: the largest ones.
const MAX_PREFIXES: usize = 50;
/// The number of findings in a message; there may be one for each page.
const MAX_FINDINGS: usize = 5;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The last revision in the database.
    pub revision: i64,
    pub compacted: i64,
    /// The number of keys that a client would see.
    pub live: u64,
    /// The number of entries in all buckets.
    pub entries: u64,
    /// The largest prefixes, each with the number of live keys below it.
    pub prefixes: Vec<(Vec<u8>, u64)>,
    /// The last log entry that the database has applied. etcd skips log entries up to it.
    pub consistent_index: Option<u64>,
    /// The values that Kubernetes encrypted, and whether they decrypt.
    pub secrets: SecretsReport,
}

/// What the stored copy is: an unpacked snapshot with the result of its hashing, or the database of a stopped member.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    Snapshot(Ending),
    Member,
}

/// Reads a database and checks its structure; a finding is the copy's fault. An index of its keys that does not fit in memory
/// is stored in `scratch`. Encrypted values are decrypted with `keys`.
pub async fn read(
    db: PathBuf,
    source: Source,
    scratch: PathBuf,
    keys: MasterKeys,
) -> Result<Contents, Fault> {
    offload::run(move || walk_file(&db, source, &scratch, &keys)).await
}

fn walk_file(db: &Path, source: Source, scratch: &Path, keys: &MasterKeys) -> Result<Contents, Fault> {
    let doing = || format!("cannot read {}", db.display());
    let file = File::open(db).here(doing)?;
    let builder = IndexBuilder::new(IndexOptions::in_directory(scratch));
    let mut visitors = (builder, Tally::new(keys.keyring()));
    let report = match source {
        Source::Snapshot(ending) => walk_hashed(&file, ending, &mut visitors),
        Source::Member => walk_member(&file, &mut visitors),
    };
    let (builder, tally) = visitors;
    let report = report.here(doing)?;
    if !report.is_sound() {
        let findings: Vec<String> =
            report.findings.iter().take(MAX_FINDINGS).map(ToString::to_string).collect();
        return Err(Fault::Copy(format!("the stored copy is damaged: {}", findings.join("; "))));
    }
    let mut live = Live::default();
    for key in builder.finish().here(doing)?.live(b"").here(doing)? {
        live.add(&key.here(doing)?.newest.key);
    }
    let Facts { revision, compacted, entries, consistent_index, .. } = report.facts;
    let signed = |number: Option<u64>| i64::try_from(number.unwrap_or(0)).unwrap_or(i64::MAX);
    Ok(Contents {
        revision: signed(revision),
        compacted: signed(compacted),
        live: live.count,
        entries: entries.unwrap_or(0),
        prefixes: live.largest(),
        consistent_index,
        secrets: keys.judge(&tally.finish()),
    })
}

/// The live keys, counted in their order, in which those of one prefix follow each other.
#[derive(Debug, Default)]
struct Live {
    count: u64,
    prefixes: Vec<(Vec<u8>, u64)>,
}

impl Live {
    fn add(&mut self, key: &[u8]) {
        self.count += 1;
        let Some(prefix) = prefix_of(key) else { return };
        match self.prefixes.last_mut() {
            Some((last, count)) if last == prefix => *count += 1,
            _ => self.prefixes.push((prefix.to_vec(), 1)),
        }
    }

    /// The largest groups of keys with the same first two names: `/registry/pods/`.
    fn largest(mut self) -> Vec<(Vec<u8>, u64)> {
        self.prefixes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        self.prefixes.truncate(MAX_PREFIXES);
        self.prefixes.sort_unstable();
        self.prefixes
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
        let mut live = Live::default();
        for key in ["/a/b/1", "/a/b/2", "/a/c/1", "x"] {
            live.add(key.as_bytes());
        }
        assert_eq!(live.count, 4);
        assert_eq!(live.largest(), [(b"/a/b/".to_vec(), 2), (b"/a/c/".to_vec(), 1)]);
    }

    #[test]
    fn a_file_that_is_not_a_database_is_the_copys_fault_and_a_missing_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("db");
        std::fs::write(&db, [7; 8192]).unwrap();
        assert!(matches!(
            walk_file(&db, Source::Member, folder.path(), &MasterKeys::default()),
            Err(Fault::Copy(_))
        ));
        assert!(matches!(
            walk_file(&folder.path().join("gone"), Source::Member, folder.path(), &MasterKeys::default()),
            Err(Fault::Here(_))
        ));
    }
}
