//! Proofs of a set, in files beside it: written once, and kept as long as the set.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use nightshift_core::chain;
use nightshift_core::digest::Digest;
use nightshift_core::name::HostName;
use nightshift_core::proof::{
    MAX_BYTES, MAX_PER_HOST, Proof, ProofError, SIGNATURE_EXTENSION, StoredProof, host_in_name,
};
use nightshift_core::set_path::SetId;

use crate::directory::{create_directories, list, open_own};
use crate::fault::{IoContext as _, StoreError};
use crate::layout::Vault;
use crate::read::{if_exists, read_below};
use crate::replace::{replace_file, write_aside};
use crate::sync::sync_directory;
use crate::verify::MAX_SIGNATURE_LEN;

impl Vault {
    /// Stores a proof of a set, its signature first: a proof that is visible is complete. An existing one of the same name
    /// stays.
    pub fn put_proof(&self, stored: &StoredProof) -> Result<(), StoreError> {
        let StoredProof { proof, bytes, signature } = stored;
        let directory = self.root().join(proof.set.proofs());
        let path = directory.join(proof.file_name());
        create_directories(&directory)?;
        open_own(&directory)?;
        if path.exists() {
            return Ok(());
        }
        if let Some(signature) = signature {
            replace_file(&signature_of(&path), signature.as_bytes())?;
        }
        let file = write_aside(&directory, &path, bytes)?;
        match file.persist_noclobber(&path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(error.error).on("rename", &path),
        }
        sync_directory(&directory).on("sync", &directory)?;
        let night = directory.parent().unwrap_or(&directory);
        sync_directory(night).on("sync", night)
    }

    /// The proofs of a set that are about its manifest, oldest first, and of each host the newest ones only. What is not such a
    /// proof is skipped with a warning.
    pub fn proofs(&self, set: &SetId) -> Vec<Proof> {
        let StoredProofs { proofs, unusable } = self.stored_proofs(set);
        for reason in unusable {
            tracing::warn!("a proof of {set} is skipped: {reason}");
        }
        proofs.into_iter().map(|stored| stored.proof).collect()
    }

    /// As `proofs`, with their signatures, and with the reasons why others do not count.
    pub fn stored_proofs(&self, set: &SetId) -> StoredProofs {
        let mut found = StoredProofs::default();
        if let Err(error) = self.read_proofs(set, &mut found) {
            found.unusable.push(chain(&error));
        }
        found.proofs.sort_by_key(|stored| stored.proof.at);
        found
    }

    fn read_proofs(&self, set: &SetId, found: &mut StoredProofs) -> Result<(), StoreError> {
        let names = self.proof_names(set)?;
        if names.is_empty() {
            return Ok(());
        }
        let manifest = self.manifest_digest(set)?;
        let directory = self.root().join(set.proofs());
        for name in names.values().flat_map(|names| names.iter().rev().take(MAX_PER_HOST)) {
            match read(&directory, name, set, manifest) {
                Ok(proof) => found.proofs.push(proof),
                Err(reason) => found.unusable.push(format!("{name}: {reason}")),
            }
        }
        Ok(())
    }

    /// The names of the stored proofs of a set, by the host that they name, in the order of their times.
    pub fn proof_names(&self, set: &SetId) -> Result<BTreeMap<HostName, Vec<String>>, StoreError> {
        let mut names: BTreeMap<HostName, Vec<String>> = BTreeMap::new();
        for entry in list(&self.root().join(set.proofs()))? {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if let Some(host) = host_in_name(&name) {
                names.entry(host).or_default().push(name);
            }
        }
        Ok(names)
    }
}

/// The proofs of a set.
#[derive(Debug, Default)]
pub struct StoredProofs {
    pub proofs: Vec<StoredProof>,
    /// Why other files, or all of them, do not count.
    pub unusable: Vec<String>,
}

fn signature_of(proof: &Path) -> PathBuf {
    let mut path = proof.as_os_str().to_owned();
    path.push(SIGNATURE_EXTENSION);
    PathBuf::from(path)
}

fn read(directory: &Path, name: &str, set: &SetId, manifest: Digest) -> Result<StoredProof, String> {
    let bytes = read_below(directory, name, MAX_BYTES).map_err(|error| chain(&error))?;
    let signature = read_below(directory, &format!("{name}{SIGNATURE_EXTENSION}"), MAX_SIGNATURE_LEN);
    let signature = if_exists(signature).map_err(|error| chain(&error))?;
    let signature = signature.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let proof = Proof::decode(&bytes)
        .and_then(|proof| proof.expect(set, manifest).map(|()| proof))
        .and_then(|proof| proof.expect_name(name).map(|()| proof));
    let proof = proof.map_err(|error: ProofError| chain(&error))?;
    Ok(StoredProof { proof, bytes, signature })
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert_eq!(vault.proofs(&set), []);

        let unsigned = |proof: &Proof| StoredProof::new(proof.clone(), |_| None).unwrap();
        let proof = testing::proof(&set, Digest::of(&manifest), DrillVerdict::Proved);
        let signed = StoredProof::new(proof.clone(), |_| Some("signature".to_owned())).unwrap();
        vault.put_proof(&signed).unwrap();
        let other = Proof { with: "9".into(), ..proof.clone() };
        vault.put_proof(&unsigned(&other)).unwrap();
        assert_eq!(vault.stored_proofs(&set).proofs, [signed]);

        let directory = dir.path().join(set.proofs());
        let stray = Proof { manifest: Digest::of(b"another"), by: "m9".parse().unwrap(), ..proof.clone() };
        vault.put_proof(&unsigned(&stray)).unwrap();
        fs::copy(directory.join(proof.file_name()), directory.join("e2-20261123T000000Z.json")).unwrap();
        fs::write(directory.join("m1-20261123T000000Z.json"), b"{").unwrap();
        fs::write(directory.join(".half.part"), b"{").unwrap();
        assert_eq!(
            vault.proofs(&set),
            [proof],
            "files that are not proofs of its manifest, or have another name than their own, are skipped"
        );
        vault.sweep(None).unwrap();
        assert!(directory.join(".half.part").exists(), "it is perhaps still being written");

        fs::remove_dir_all(vault.directory(&set)).unwrap();
        vault.sweep(None).unwrap();
        assert!(!directory.exists(), "proofs are removed with their set");
    }

    #[test]
    fn a_host_that_issues_any_number_of_proofs_hides_no_other_hosts_proof() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::new(dir.path());
        let set: SetId = "e1/2026-11-22/etcd".parse().unwrap();
        let manifest = testing::manifest(&set, Grade::Good, Vec::new()).encode().unwrap();
        vault.begin(&set).unwrap().publish(&manifest, None).unwrap();
        let put = |by: &str, second: i64, verdict| {
            let proof = testing::proof(&set, Digest::of(&manifest), verdict);
            let at = jiff::Timestamp::from_second(second).unwrap();
            let proof = Proof { by: by.parse().unwrap(), at, ..proof };
            vault.put_proof(&StoredProof::new(proof, |_| None).unwrap()).unwrap();
        };
        put("m1", 5, DrillVerdict::NotRestorable);
        for second in 0..300 {
            put("e2", second, DrillVerdict::Proved);
        }
        let proofs = vault.proofs(&set);
        assert!(proofs.iter().any(|proof| proof.by == "m1".parse().unwrap() && !proof.is_proved()));
        assert_eq!(proofs.len(), 1 + MAX_PER_HOST);
        assert_eq!(proofs.last().unwrap().at.as_second(), 299, "the newest ones are read");
    }
}
