//! What was stated about a set after it was published: `<role>.proofs/<by>-<utc>.json`, each written once.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nightshift_core::proof::{FORMAT, MOST_BYTES, Proof};
use nightshift_core::set_path::SetId;

use super::fault::{IoContext as _, StoreError};
use super::layout::{Vault, create_folders, read_bounded};
use super::sync::{sync_file, sync_folder};

/// More statements about one set than anybody makes.
const MOST_PROOFS: usize = 1000;

/// Writes a statement beside its set. It is on disk when this returns, and never changed again.
pub fn write(vault: &Vault, proof: &Proof) -> Result<PathBuf, StoreError> {
    let folder = vault.root().join(proof.set.proofs());
    let path = folder.join(proof.file_name());
    let bytes = serde_json::to_vec_pretty(proof).map_err(io::Error::from).on("write", &path)?;
    create_folders(&folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(".")
        .suffix(".part")
        .permissions(fs::Permissions::from_mode(0o640))
        .tempfile_in(&folder)
        .on("write", &path)?;
    file.write_all(&bytes).on("write", &path)?;
    sync_file(file.as_file()).on("sync", &path)?;
    file.persist_noclobber(&path).map_err(|error| error.error).on("write", &path)?;
    for folder in [folder.as_path(), folder.parent().unwrap_or(&folder)] {
        sync_folder(folder).on("sync", folder)?;
    }
    Ok(path)
}

/// Every statement about this set as it lies here, oldest first. What cannot be read, or is about another manifest under
/// the same name, is no statement about it.
pub fn read(vault: &Vault, set: &SetId) -> Vec<Proof> {
    let folder = vault.root().join(set.proofs());
    let Ok(listing) = fs::read_dir(&folder) else { return Vec::new() };
    let Ok(digest) = vault.manifest_digest(set) else { return Vec::new() };
    let mut proofs: Vec<Proof> = listing
        .take(MOST_PROOFS)
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_proof(path))
        .filter_map(|path| one(&path))
        .filter(|proof| proof.set == *set && proof.manifest == digest)
        .collect();
    proofs.sort_by_key(|proof| proof.at);
    proofs
}

fn is_proof(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| !name.starts_with('.') && name.ends_with(".json"))
}

fn one(path: &Path) -> Option<Proof> {
    let read = read_bounded(path, MOST_BYTES).and_then(|bytes| {
        serde_json::from_slice::<Proof>(&bytes).map_err(io::Error::from).on("understand", path)
    });
    match read {
        Ok(proof) => Some(proof).filter(|proof| proof.format <= FORMAT),
        Err(error) => {
            tracing::warn!("a proof is passed over: {}", crate::chain(&error));
            None
        }
    }
}
