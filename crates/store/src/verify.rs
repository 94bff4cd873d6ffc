//! Verifies a stored set: the hash of every file, the checks and facts of its etcd data, and the signature of its origin host.

mod etcd_data;

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nightshift_core::chain;
use nightshift_core::digest::Written;
use nightshift_core::manifest::{self, FileList, ListedFile, Manifest};
use nightshift_core::name::ClusterName;
use nightshift_core::outcome::Grade;
use nightshift_core::set_path::SetId;
use nightshift_core::signed::Signed;
use nightshift_core::text::one_line;

pub use self::etcd_data::{EtcdCheck, findings_of, snapshot_facts, verify_etcd_data};
use self::etcd_data::{is_snapshot, verify_snapshot};
use crate::fault::StoreError;
use crate::layout::Vault;
use crate::partial::hash_open;
use crate::read::{if_exists, open_below, read_below};

/// No findings, nothing unchecked, and a signature by its origin host: the set is as that host published it.
#[derive(Debug)]
pub struct Verified {
    pub findings: Vec<String>,
    /// Those of the findings that are about the stored content: it is not what the manifest describes.
    pub damage: Vec<String>,
    /// What was compared with nothing here, one reason each.
    pub unchecked: Vec<String>,
    pub signed: Signed,
    pub files: usize,
    pub bytes: u64,
}

/// Checks who signed a manifest. Gets the manifest, its bytes and the signature beside it.
pub type SignatureCheck<'a> = dyn Fn(&Manifest, &[u8], Option<&str>) -> Signed + 'a;

/// Inodes that were verified in this run. Hard links to one inode are hashed once.
pub type Hashed = BTreeSet<(u64, u64)>;

/// Verifies one set. An error if its manifest cannot be read. Blocks.
pub fn verify_set(
    cluster: &ClusterName,
    vault: &Vault,
    set: &SetId,
    check: &SignatureCheck<'_>,
    hashed: &mut Hashed,
) -> Result<Verified, StoreError> {
    let bytes = vault.manifest_bytes(set)?;
    let signed = Signed::Unchecked("its manifest cannot be read".to_owned());
    let mut verified = Verified {
        findings: Vec::new(),
        damage: Vec::new(),
        unchecked: Vec::new(),
        signed,
        files: 0,
        bytes: 0,
    };
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
        verified.signed = match stored_signature(vault, set) {
            Ok(signature) => check(manifest, &bytes, signature.as_deref()),
            Err(error) => Signed::Unchecked(chain(&error)),
        };
        if matches!(verified.signed, Signed::Refused(_)) {
            verified.findings.push(verified.signed.to_string());
        }
        verified.findings.extend(manifest.missing_etcd_data().map(str::to_owned));
    }
    let intact = verified.check_files(&vault.directory(set), &list, hashed);
    verified.check_etcd(&vault.directory(set), manifest.as_ref(), &list, &intact);
    Ok(verified)
}

impl Verified {
    /// Hashes the files; returns those that are as the manifest says.
    fn check_files<'a>(
        &mut self,
        directory: &Path,
        list: &'a FileList,
        hashed: &mut Hashed,
    ) -> BTreeSet<&'a str> {
        let mut intact = BTreeSet::new();
        for ListedFile { path, size, sha256 } in &list.files {
            self.files += 1;
            self.bytes += size;
            match check_file(directory, path, Written { size: *size, sha256: *sha256 }, hashed) {
                Ok(()) => {
                    intact.insert(path.as_str());
                }
                Err(FileFault { reason, is_damage }) => {
                    // A path is any text of the origin host.
                    let finding = format!("{}: {reason}", one_line(path));
                    self.damage.extend(is_damage.then(|| finding.clone()));
                    self.findings.push(finding);
                }
            }
        }
        intact
    }

    fn check_etcd(
        &mut self,
        directory: &Path,
        manifest: Option<&Manifest>,
        list: &FileList,
        intact: &BTreeSet<&str>,
    ) {
        let EtcdCheck { findings, unchecked } = match manifest {
            Some(manifest) if manifest.grade == Grade::Bad => EtcdCheck::default(),
            Some(manifest) => verify_etcd_data(directory, manifest, &|name| intact.contains(name), &|| false),
            // Without facts, there is nothing to compare it with.
            None => {
                let files = list.files.iter().map(|file| file.path.as_str());
                let snapshots = files.filter(|name| is_snapshot(name) && intact.contains(name));
                let findings = snapshots.flat_map(|name| verify_snapshot(directory, name, None, &|| false));
                EtcdCheck { findings: findings.collect(), unchecked: Vec::new() }
            }
        };
        self.damage.extend(findings.iter().cloned());
        self.findings.extend(findings);
        self.unchecked.extend(unchecked);
    }
}

/// The manifest, if it is one of this set and cluster.
fn decoded(cluster: &ClusterName, set: &SetId, bytes: &[u8], findings: &mut Vec<String>) -> Option<Manifest> {
    let manifest = Manifest::decode(bytes)
        .and_then(|manifest| manifest.expect(set, cluster).map(|()| manifest))
        .inspect_err(|error| findings.push(chain(error)));
    manifest.ok()
}

struct FileFault {
    reason: String,
    /// It is about the file, not about what this process may do.
    is_damage: bool,
}

impl From<io::Error> for FileFault {
    fn from(error: io::Error) -> Self {
        use rustix::io::Errno;
        let lacking = [Errno::ACCESS, Errno::PERM, Errno::MFILE, Errno::NFILE, Errno::NOMEM];
        let is_damage = !lacking.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
        Self { reason: error.to_string(), is_damage }
    }
}

fn check_file(directory: &Path, name: &str, wanted: Written, hashed: &mut Hashed) -> Result<(), FileFault> {
    let file = open_below(directory, name)?;
    let metadata = file.metadata()?;
    let inode = (metadata.dev(), metadata.ino());
    if hashed.contains(&inode) {
        return Ok(());
    }
    let found = hash_open(&file)?;
    let reason = if found == wanted {
        hashed.insert(inode);
        return Ok(());
    } else if found.size != wanted.size {
        format!("it has {} bytes; its manifest says {}", found.size, wanted.size)
    } else {
        format!("its SHA-256 is {}; its manifest says {}", found.sha256, wanted.sha256)
    };
    Err(FileFault { reason, is_damage: true })
}

/// Bytes of a signature: that of an RSA key of 16,384 bits has 6 KB.
pub const MAX_SIGNATURE_LEN: u64 = 16 << 10;

fn stored_signature(vault: &Vault, set: &SetId) -> Result<Option<String>, StoreError> {
    let bytes = if_exists(read_below(&vault.directory(set), manifest::SIGNATURE_FILE, MAX_SIGNATURE_LEN))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests;
