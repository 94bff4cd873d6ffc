//! Proofs of a set, in files beside it: written once, and kept as long as the set.

use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use nightshift_core::digest::Digest;
use nightshift_core::proof::{MAX_BYTES, Proof, ProofError};
use nightshift_core::set_path::SetId;

use crate::directory::{create_directories, list};
use crate::fault::{IoContext as _, StoreError};
use crate::layout::Vault;
use crate::publish::write_aside;
use crate::read::read_bounded;
use crate::sync::sync_directory;

/// Proofs that are read of one set.
const MAX_PROOFS: usize = 200;

impl Vault {
    /// Stores a proof of a set. An existing one of the same name stays.
    pub fn put_proof(&self, proof: &Proof) -> Result<(), StoreError> {
        let directory = self.root().join(proof.set.proofs());
        let path = directory.join(proof.file_name());
        create_directories(&directory)?;
        let bytes = proof.encode().map_err(io::Error::from).on("write", &path)?;
        let file = write_aside(&directory, &path, &bytes)?;
        match file.persist_noclobber(&path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(error.error).on("rename", &path),
        }
        like_its_set(&self.directory(&proof.set), [directory.as_path(), path.as_path()])?;
        sync_directory(&directory).on("sync", &directory)?;
        let night = directory.parent().unwrap_or(&directory);
        sync_directory(night).on("sync", night)
    }

    /// The proofs of a set that are about its manifest, oldest first. Files that are not such proofs are skipped with a warning.
    pub fn proofs(&self, set: &SetId) -> Result<Vec<Proof>, StoreError> {
        let entries = list(&self.root().join(set.proofs()))?;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let manifest = self.manifest_digest(set)?;
        let mut proofs = Vec::new();
        for path in entries.iter().take(MAX_PROOFS).map(DirEntry::path) {
            if !is_proof(&path) {
                continue;
            }
            match read(&path, set, manifest) {
                Ok(proof) => proofs.push(proof),
                Err(reason) => tracing::warn!("{} is skipped: {reason}", path.display()),
            }
        }
        proofs.sort_by_key(|proof| proof.at);
        Ok(proofs)
    }
}

/// Gives files the owner of their set. What root writes by hand, the daemon must be able to remove.
fn like_its_set(set: &Path, paths: [&Path; 2]) -> Result<(), StoreError> {
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(set).on("stat", set)?;
        for path in paths {
            chown(path, Some(owner.uid()), Some(owner.gid())).on("change the owner of", path)?;
        }
    }
    Ok(())
}

fn is_proof(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    !name.starts_with('.') && name.ends_with(".json")
}

fn read(path: &Path, set: &SetId, manifest: Digest) -> Result<Proof, String> {
    let bytes = read_bounded(path, MAX_BYTES).map_err(|error| nightshift_core::chain(&error))?;
    let proof = Proof::decode(&bytes).and_then(|proof| proof.expect(set, manifest).map(|()| proof));
    proof.map_err(|error: ProofError| nightshift_core::chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nightshift_core::fixtures as testing;
    use nightshift_core::outcome::Grade;
    use nightshift_core::proof::DrillVerdict;

    #[test]
    fn a_proof_counts_for_the_manifest_that_was_proved_and_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::new(dir.path());
        let set: SetId = "e1/2026-11-22/etcd".parse().unwrap();
        let manifest = testing::manifest(&set, Grade::Good, Vec::new()).encode().unwrap();
        vault.begin(&set).unwrap().publish(&manifest, None).unwrap();
        assert_eq!(vault.proofs(&set).unwrap(), []);

        let proof = testing::proof(&set, Digest::of(&manifest), DrillVerdict::Proved);
        vault.put_proof(&proof).unwrap();
        let other = Proof { with: "9".into(), ..proof.clone() };
        vault.put_proof(&other).unwrap();
        assert_eq!(vault.proofs(&set).unwrap(), std::slice::from_ref(&proof));

        let directory = dir.path().join(set.proofs());
        let stray = Proof { manifest: Digest::of(b"another"), by: "m9".parse().unwrap(), ..proof.clone() };
        vault.put_proof(&stray).unwrap();
        fs::write(directory.join("m1-20261123T000000Z.json"), b"{").unwrap();
        fs::write(directory.join(".half.part"), b"{").unwrap();
        assert_eq!(
            vault.proofs(&set).unwrap(),
            [proof],
            "files that are not proofs of its manifest are skipped"
        );
        vault.sweep(None).unwrap();
        assert!(directory.join(".half.part").exists(), "it is perhaps still being written");

        fs::remove_dir_all(vault.directory(&set)).unwrap();
        vault.sweep(None).unwrap();
        assert!(!directory.exists(), "proofs are removed with their set");
    }
}
