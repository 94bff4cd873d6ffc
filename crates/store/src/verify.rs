//! Verifies a stored set: the hash of every file, its snapshot's checks and facts, and the signature of its origin host.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nightshift_core::chain;
use nightshift_core::digest::{Digest, Written};
use nightshift_core::etcd_facts::{EtcdFacts, SnapshotFacts};
use nightshift_core::manifest::{self, FileList, ListedFile, Manifest};
use nightshift_core::name::ClusterName;
use nightshift_core::outcome::Grade;
use nightshift_core::set_path::SetId;
use nightshift_core::signed::Signed;
use nightshift_core::text::one_line;
use nightshift_snapshot::{Facts, Pass, Report};

use crate::fault::StoreError;
use crate::layout::Vault;
use crate::packing::Packing;
use crate::partial::hash_file;
use crate::read::read_if_exists;

/// No findings, and a signature by its origin host: the set is as that host published it.
#[derive(Debug)]
pub struct Verified {
    pub findings: Vec<String>,
    pub signed: Signed,
    pub files: usize,
    pub bytes: u64,
}

/// Checks who signed a manifest. Gets the manifest, its bytes and the signature beside it.
pub type SignatureCheck<'a> = dyn Fn(&Manifest, &[u8], Option<&str>) -> Signed + 'a;

/// Inodes that were verified in this run. Hard links to one inode are hashed once.
pub type Hashed = BTreeSet<(u64, u64)>;

/// Verifies one set. Blocks.
pub fn verify_set(
    cluster: &ClusterName,
    vault: &Vault,
    set: &SetId,
    check: &SignatureCheck<'_>,
    hashed: &mut Hashed,
) -> Result<Verified, StoreError> {
    let bytes = vault.manifest_bytes(set)?;
    let unread = Signed::Unchecked("its manifest cannot be read".to_owned());
    let mut verified = Verified { findings: Vec::new(), signed: unread, files: 0, bytes: 0 };
    let list = match FileList::decode(&bytes) {
        Ok(list) => list,
        Err(error) => {
            verified.findings.push(chain(&error));
            return Ok(verified);
        }
    };
    // In a newer format only the file list can be read, and the files are still verified.
    if list.is_newer() {
        verified.signed = Signed::Unchecked("its manifest has a newer format".to_owned());
    }
    let manifest = if list.is_newer() { None } else { decoded(cluster, set, &bytes, &mut verified.findings) };
    if let Some(manifest) = &manifest {
        let signature = stored_signature(vault, set)?;
        verified.signed = check(manifest, &bytes, signature.as_deref());
        if matches!(verified.signed, Signed::Refused(_)) {
            verified.findings.push(verified.signed.to_string());
        }
        verified.findings.extend(manifest.missing_etcd_data().map(str::to_owned));
    }
    let bad_when_taken = manifest.as_ref().is_some_and(|manifest| manifest.grade == Grade::Bad);
    let facts = manifest.as_ref().and_then(|manifest| manifest.etcd.as_ref());
    for ListedFile { path: name, size, sha256 } in list.files {
        let path = vault.directory(set).join(&name);
        // A path is any text of the origin host.
        let shown = one_line(&name);
        verified.files += 1;
        verified.bytes += size;
        if let Some(finding) = check_file(&path, Written { size, sha256 }, hashed) {
            verified.findings.push(format!("{shown}: {finding}"));
        } else if is_snapshot(&name) && !bad_when_taken {
            let mut findings = verify_snapshot(&path, facts, &|| false);
            if manifest.is_some() && facts.is_none() {
                findings.push(UNDESCRIBED.to_owned());
            }
            verified.findings.extend(findings.into_iter().map(|finding| format!("{shown}: {finding}")));
        }
    }
    Ok(verified)
}

/// The manifest, if it is one of this set and cluster.
fn decoded(cluster: &ClusterName, set: &SetId, bytes: &[u8], findings: &mut Vec<String>) -> Option<Manifest> {
    let manifest = Manifest::decode(bytes)
        .and_then(|manifest| manifest.expect(set, cluster).map(|()| manifest))
        .inspect_err(|error| findings.push(chain(error)));
    manifest.ok()
}

fn check_file(path: &Path, wanted: Written, hashed: &mut Hashed) -> Option<String> {
    let inode = match std::fs::metadata(path) {
        Ok(metadata) => (metadata.dev(), metadata.ino()),
        Err(error) => return Some(error.to_string()),
    };
    if hashed.contains(&inode) {
        return None;
    }
    match hash_file(path) {
        Ok(found) if found == wanted => {
            hashed.insert(inode);
            None
        }
        Ok(found) if found.size != wanted.size => {
            Some(format!("it has {} bytes; its manifest says {}", found.size, wanted.size))
        }
        Ok(found) => Some(format!("its SHA-256 is {}; its manifest says {}", found.sha256, wanted.sha256)),
        Err(error) => Some(error.to_string()),
    }
}

/// Whether a set's file is the snapshot of a v3 database.
pub fn is_snapshot(name: &str) -> bool {
    manifest::SNAPSHOTS.contains(&name)
}

/// The finding for a snapshot about which its manifest states no facts.
pub const UNDESCRIBED: &str = "its manifest does not describe the snapshot";

/// What is wrong with a stored snapshot, how it differs from the facts in its manifest, or why it cannot be read. Without
/// facts, because the manifest has a newer format, nothing is compared. Blocks; `stop` ends it with a finding.
pub fn verify_snapshot(path: &Path, facts: Option<&EtcdFacts>, stop: &dyn Fn() -> bool) -> Vec<String> {
    let report = match report_of(path, facts.map(|facts| facts.raw_size), stop) {
        Ok(report) => report,
        Err(error) => return vec![error.to_string()],
    };
    let mut findings = findings_of(&report);
    match facts {
        // What was counted in a damaged snapshot means nothing.
        Some(facts) if findings.is_empty() => {
            let counted = snapshot_facts(&report.facts);
            findings = facts.differences(report.length, Digest::from(report.sha256), counted.as_ref());
        }
        Some(_) | None => {}
    }
    findings
}

/// The facts about a snapshot that a manifest states. `None` if not all of them are known, because the snapshot is damaged.
pub fn snapshot_facts(facts: &Facts) -> Option<SnapshotFacts> {
    let compacted = facts.compacted.filter(|compacted| *compacted > 0);
    Some(SnapshotFacts {
        revision: i64::try_from(facts.revision?).ok()?,
        compacted: compacted.and_then(|compacted| i64::try_from(compacted).ok()),
        entries: facts.entries?,
        revisions: facts.revisions?,
        size: facts.size?,
    })
}

/// The first findings, and how many more there are.
pub fn findings_of(report: &Report) -> Vec<String> {
    const SHOWN: usize = 10;
    let mut findings: Vec<String> = report.findings.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = (report.findings.len().saturating_sub(SHOWN) as u64).saturating_add(report.further_findings);
    if more > 0 {
        findings.push(format!("and {more} further findings"));
    }
    findings
}

/// Unpacks a stored snapshot and reads it like one that etcd streams, up to the first defect that nothing can repair.
fn report_of(path: &Path, raw_size: Option<u64>, stop: &dyn Fn() -> bool) -> io::Result<Report> {
    let packing = path.file_name().and_then(|name| Packing::of_snapshot(name.to_str()?));
    let file = File::open(path)?;
    let max = max_unpacked(file.metadata()?.len());
    if let Some(raw_size) = raw_size.filter(|raw_size| *raw_size > max) {
        return Err(io::Error::other(format!(
            "its manifest says that it unpacks to {raw_size} bytes; a file of its size cannot contain more than {max}"
        )));
    }
    let mut plain = packing.unwrap_or(Packing::Gzip).unpack(file, Some(raw_size.unwrap_or(max)))?;
    let mut pass = Pass::default();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match plain.read(&mut buffer)? {
            _ if stop() => return Err(io::Error::other("stopped before its end")),
            0 => return Ok(pass.finish()),
            read => pass.update(&buffer[..read]),
        }
        if pass.is_refuted() {
            return Ok(pass.finish());
        }
    }
}

/// The maximum unpacked size of a compressed snapshot in bytes. The pages of a database have numbers, keys and hashes, so they
/// never compress to a thousandth; a small one may be mostly empty.
fn max_unpacked(packed: u64) -> u64 {
    packed.saturating_mul(1000).max(64 << 20)
}

/// Bytes of a signature: that of an RSA key of 16,384 bits has 6 KB.
pub const MAX_SIGNATURE_LEN: u64 = 16 << 10;

fn stored_signature(vault: &Vault, set: &SetId) -> Result<Option<String>, StoreError> {
    let path = vault.directory(set).join(manifest::SIGNATURE_FILE);
    let bytes = read_if_exists(&path, MAX_SIGNATURE_LEN)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use nightshift_core::fixtures;

    use super::*;

    fn of_size(raw_size: u64) -> EtcdFacts {
        EtcdFacts { raw_size, ..fixtures::etcd_facts() }
    }

    #[test]
    fn a_snapshot_that_unpacks_to_more_than_the_size_in_its_manifest_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot.db.zst");
        std::fs::write(&path, zstd::encode_all(&vec![0u8; 8 << 20][..], 1).unwrap()).unwrap();
        let findings = verify_snapshot(&path, Some(&of_size(1 << 20)), &|| false).join("; ");
        assert!(findings.contains("more than the 1048576 bytes in its manifest"), "{findings}");
        let findings = verify_snapshot(&path, Some(&of_size(8 << 20)), &|| false).join("; ");
        assert!(findings.contains("etcd database"), "{findings}");
    }

    #[test]
    fn a_bomb_ends_at_its_first_defect_or_before_it_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot.db.zst");
        let frame = zstd::encode_all(&vec![0u8; 64 << 20][..], 1).unwrap();
        // 64 GiB of zeros in frames that follow each other.
        std::fs::write(&path, frame.repeat(1024)).unwrap();
        let began = std::time::Instant::now();
        let refused = verify_snapshot(&path, Some(&of_size(1 << 62)), &|| false).join("; ");
        assert!(refused.contains("cannot contain more than"), "{refused}");
        let plausible = 900 * std::fs::metadata(&path).unwrap().len();
        let refuted = verify_snapshot(&path, Some(&of_size(plausible)), &|| false).join("; ");
        assert!(refuted.contains("not an etcd database"), "{refuted}");
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[test]
    fn a_sound_set_of_a_newer_format_has_no_finding_and_is_unchecked() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::new(directory.path());
        let set: SetId = "e1/2026-11-22/etcd".parse().unwrap();
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/tests/data/3.4-history.db.gz");
        let snapshot = std::fs::read(sample).unwrap();
        let (size, sha256) = (snapshot.len(), Digest::of(&snapshot));
        let files = vault.directory(&set);
        std::fs::create_dir_all(&files).unwrap();
        std::fs::write(files.join("snapshot.db.gz"), snapshot).unwrap();
        let item = format!(r#"{{"path": "snapshot.db.gz", "size": {size}, "sha256": "{sha256}"}}"#);
        let manifest = format!(r#"{{"format": 9, "items": [{item}]}}"#);
        std::fs::write(files.join(manifest::FILE), manifest).unwrap();
        let check = |_: &Manifest, _: &[u8], _: Option<&str>| unreachable!("its manifest cannot be read");
        let verified =
            verify_set(&"prod".parse().unwrap(), &vault, &set, &check, &mut Hashed::new()).unwrap();
        assert_eq!((verified.findings, verified.files), (Vec::new(), 1));
        assert!(matches!(verified.signed, Signed::Unchecked(reason) if reason.contains("newer format")));
    }

    #[test]
    fn a_finding_with_the_path_of_a_file_is_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::new(directory.path());
        let set: SetId = "n1/2026-11-22/node".parse().unwrap();
        std::fs::create_dir_all(vault.directory(&set)).unwrap();
        let path = "a\nn2/2026-11-22/node: good\u{1b}[2J";
        let item = serde_json::json!({"path": path, "size": 1, "sha256": Digest::of(b"x")});
        let manifest = serde_json::json!({"format": 9, "items": [item]}).to_string();
        std::fs::write(vault.directory(&set).join(manifest::FILE), manifest).unwrap();
        let check = |_: &Manifest, _: &[u8], _: Option<&str>| unreachable!("its manifest cannot be read");
        let verified =
            verify_set(&"prod".parse().unwrap(), &vault, &set, &check, &mut Hashed::new()).unwrap();
        assert!(verified.findings[0].starts_with("a n2/2026-11-22/node: good\u{fffd}[2J: No such file"));
    }

    #[test]
    fn a_check_ends_when_its_stage_stops() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot.db.zst");
        std::fs::write(&path, zstd::encode_all(&[7u8; 4096][..], 1).unwrap()).unwrap();
        let findings = verify_snapshot(&path, Some(&of_size(4096)), &|| true).join("; ");
        assert!(findings.contains("stopped"), "{findings}");
    }
}
