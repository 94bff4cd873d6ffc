//! Verifies a stored set: the hash of every file, its snapshot's checks, and the signature of its origin host.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nightshift_core::chain;
use nightshift_core::digest::Written;
use nightshift_core::manifest::{self, FileList, ListedFile, Manifest};
use nightshift_core::name::ClusterName;
use nightshift_core::outcome::Grade;
use nightshift_core::set_path::SetId;
use nightshift_snapshot::{Pass, Report};

use crate::fault::StoreError;
use crate::layout::Vault;
use crate::packing::Packing;
use crate::partial::hash_file;
use crate::read::read_if_exists;

/// No findings: the set is as its origin host published it.
#[derive(Debug, Default)]
pub struct Verified {
    pub findings: Vec<String>,
    pub files: usize,
    pub bytes: u64,
}

/// Checks who signed a manifest. Gets the manifest, its bytes and the signature beside it; returns what is wrong.
pub type SignatureCheck<'a> = dyn Fn(&Manifest, &[u8], Option<&str>) -> Option<String> + 'a;

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
    let mut verified = Verified::default();
    let list = match FileList::decode(&bytes) {
        Ok(list) => list,
        Err(error) => {
            verified.findings.push(chain(&error));
            return Ok(verified);
        }
    };
    // In a newer format only the file list can be read, and the files are still verified.
    let manifest = if list.is_newer() { None } else { decoded(cluster, set, &bytes, &mut verified.findings) };
    if let Some(manifest) = &manifest {
        let signature = stored_signature(vault, set)?;
        verified.findings.extend(check(manifest, &bytes, signature.as_deref()));
    }
    let bad_when_taken = manifest.as_ref().is_some_and(|manifest| manifest.grade == Grade::Bad);
    let raw_size = manifest.as_ref().and_then(raw_size);
    for ListedFile { path: name, size, sha256 } in list.files {
        let path = vault.directory(set).join(&name);
        verified.files += 1;
        verified.bytes += size;
        if let Some(finding) = check_file(&path, Written { size, sha256 }, hashed) {
            verified.findings.push(format!("{name}: {finding}"));
        } else if is_snapshot(&name) && !bad_when_taken {
            let findings = verify_snapshot(&path, raw_size).into_iter();
            verified.findings.extend(findings.map(|finding| format!("{name}: {finding}")));
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
    ["snapshot.db.gz", "snapshot.db.zst"].contains(&name)
}

/// The unpacked size in bytes of a set's snapshot, as its manifest states it.
pub fn raw_size(manifest: &Manifest) -> Option<u64> {
    manifest.etcd.as_ref().map(|etcd| etcd.raw_size)
}

/// What is wrong with a stored snapshot, or why it cannot be read. `raw_size`: its unpacked size in bytes. Blocks.
pub fn verify_snapshot(path: &Path, raw_size: Option<u64>) -> Vec<String> {
    match report_of(path, raw_size) {
        Ok(report) => findings_of(&report),
        Err(error) => vec![error.to_string()],
    }
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

/// Unpacks a stored snapshot and reads it like one that etcd streams.
fn report_of(path: &Path, raw_size: Option<u64>) -> io::Result<Report> {
    let packing = path.file_name().and_then(|name| Packing::of_snapshot(name.to_str()?));
    let mut plain = packing.unwrap_or(Packing::Gzip).unpack(File::open(path)?, raw_size)?;
    let mut pass = Pass::default();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match plain.read(&mut buffer)? {
            0 => return Ok(pass.finish()),
            read => pass.update(&buffer[..read]),
        }
    }
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
    use super::*;

    #[test]
    fn a_snapshot_that_unpacks_to_more_than_the_size_in_its_manifest_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot.db.zst");
        std::fs::write(&path, zstd::encode_all(&vec![0u8; 8 << 20][..], 1).unwrap()).unwrap();
        let findings = verify_snapshot(&path, Some(1 << 20)).join("; ");
        assert!(findings.contains("more than the 1048576 bytes in its manifest"), "{findings}");
        let findings = verify_snapshot(&path, Some(8 << 20)).join("; ");
        assert!(findings.contains("etcd database"), "{findings}");
    }
}
