//! What was stated about a set, in files beside it: written once, and kept as long as the set is.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use nightshift_core::digest::Digest;
use nightshift_core::proof::{MAX_BYTES, Proof, ProofError};
use nightshift_core::set_path::SetId;

use crate::fault::{IoContext as _, StoreError};
use crate::layout::{Vault, create_folders, read_bounded};
use crate::sync::{sync_file, sync_folder};

/// The most proofs that are read of one set.
const MOST: usize = 200;

impl Vault {
    /// Stores a proof of a set that is held. One that is there already, of the same name, stays as it is.
    pub fn put_proof(&self, proof: &Proof) -> Result<(), StoreError> {
        let folder = self.root().join(proof.set.proofs());
        let path = folder.join(proof.file_name());
        create_folders(&folder)?;
        let bytes = proof.encode().map_err(io::Error::from).on("write", &path)?;
        let mut file = tempfile::Builder::new()
            .prefix(".")
            .suffix(".part")
            .permissions(fs::Permissions::from_mode(0o640))
            .tempfile_in(&folder)
            .on("write", &path)?;
        file.write_all(&bytes).on("write", &path)?;
        sync_file(file.as_file()).on("sync", &path)?;
        match file.persist_noclobber(&path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(error.error).on("rename", &path),
        }
        like_its_set(&self.folder(&proof.set), [folder.as_path(), path.as_path()])?;
        sync_folder(&folder).on("sync", &folder)?;
        let night = folder.parent().unwrap_or(&folder);
        sync_folder(night).on("sync", night)
    }

    /// The proofs of a set that hold for its manifest, oldest first. What is no proof is passed over with a warning.
    pub fn proofs(&self, set: &SetId) -> Result<Vec<Proof>, StoreError> {
        let folder = self.root().join(set.proofs());
        let listing = match fs::read_dir(&folder) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).on("list", &folder),
        };
        let manifest = self.manifest_digest(set)?;
        let mut proofs = Vec::new();
        for entry in listing.take(MOST) {
            let path = entry.on("list", &folder)?.path();
            if !is_proof(&path) {
                continue;
            }
            match read(&path, set, manifest) {
                Ok(proof) => proofs.push(proof),
                Err(reason) => tracing::warn!("{} is passed over: {reason}", path.display()),
            }
        }
        proofs.sort_by_key(|proof| proof.at);
        Ok(proofs)
    }
}

/// What root states by hand is the daemon's to keep and to remove.
fn like_its_set(set: &Path, paths: [&Path; 2]) -> Result<(), StoreError> {
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(set).on("stat", set)?;
        for path in paths {
            chown(path, Some(owner.uid()), Some(owner.gid())).on("hand over", path)?;
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
    fn a_proof_counts_while_its_set_is_what_was_proved_and_is_never_replaced() {
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

        let folder = dir.path().join(set.proofs());
        let stray = Proof { manifest: Digest::of(b"another"), by: "m9".parse().unwrap(), ..proof.clone() };
        vault.put_proof(&stray).unwrap();
        fs::write(folder.join("m1-20261123T000000Z.json"), b"{").unwrap();
        fs::write(folder.join(".half.part"), b"{").unwrap();
        assert_eq!(vault.proofs(&set).unwrap(), [proof], "what is no proof of it counts for nothing");
        vault.sweep(None).unwrap();
        assert!(folder.join(".half.part").exists(), "it may be being written");

        fs::remove_dir_all(vault.folder(&set)).unwrap();
        vault.sweep(None).unwrap();
        assert!(!folder.exists(), "proofs go with their set");
    }
}
