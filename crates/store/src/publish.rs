//! Publishing: everything synced, the manifest last, one rename to a name that does not exist.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use nightshift_core::digest::Digest;
use nightshift_core::manifest::{self, FileList};

use crate::fault::{IoContext as _, StoreError};
use crate::partial::Partial;
use crate::sync::sync_folder;

impl Partial {
    /// Makes the set visible under its name. The files must have been synced when they were written.
    ///
    /// `manifest` is stored byte for byte, for its signature and every copy's identity rest on them.
    pub fn publish(self, manifest: &[u8], signature: Option<&str>) -> Result<Digest, StoreError> {
        let set = self.set().clone();
        let listed =
            FileList::decode(manifest).map_err(|source| StoreError::Manifest { set: set.clone(), source })?;
        self.check_files(&listed)?;
        self.remove_strays(&listed)?;
        if let Some(signature) = signature {
            self.discard(manifest::SIGNATURE_FILE)?;
            self.write(manifest::SIGNATURE_FILE, signature.as_bytes())?;
        }
        self.discard(manifest::FILE)?;
        self.write(manifest::FILE, manifest)?;
        sync_tree(self.folder())?;

        let folder = self.vault().folder(&set);
        // A folder without a manifest is a removal cut short: it is in the way, and nobody's copy.
        if folder.exists() && !self.vault().holds(&set) {
            fs::remove_dir_all(&folder).on("remove", &folder)?;
        }
        if self.vault().holds(&set) {
            return Err(StoreError::Published(set));
        }
        fs::rename(self.folder(), &folder).on("publish", &folder)?;
        for parent in folder.ancestors().skip(1) {
            sync_folder(parent).on("sync", parent)?;
            if parent == self.vault().root() {
                break;
            }
        }
        Ok(Digest::of(manifest))
    }

    /// Refuses to publish what is not all there: whoever wrote it has hashed it, and may have missed one.
    fn check_files(&self, listed: &FileList) -> Result<(), StoreError> {
        let lacking = listed.files.iter().find(|file| {
            !fs::symlink_metadata(self.folder().join(&file.path))
                .is_ok_and(|there| there.is_file() && there.len() == file.size)
        });
        match lacking {
            Some(file) => Err(StoreError::Incomplete { set: self.set().clone(), path: file.path.clone() }),
            None => Ok(()),
        }
    }

    /// Removes files that the manifest does not list: what an earlier manifest's try left.
    fn remove_strays(&self, listed: &FileList) -> Result<(), StoreError> {
        let listed: BTreeSet<_> = listed.files.iter().map(|file| self.folder().join(&file.path)).collect();
        let mut folders = vec![self.folder().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).on("list", &folder)? {
                let entry = entry.on("list", &folder)?;
                let path = entry.path();
                if entry.file_type().on("stat", &path)?.is_dir() {
                    folders.push(path);
                } else if !listed.contains(&path) {
                    fs::remove_file(&path).on("remove", &path)?;
                }
            }
        }
        Ok(())
    }
}

/// Syncs a folder and all folders below it, the deepest first.
fn sync_tree(folder: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).on("list", folder)? {
        let entry = entry.on("list", folder)?;
        if entry.file_type().on("stat", &entry.path())?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    sync_folder(folder).on("sync", folder)
}

/// Replaces a small file whole: written aside, synced, renamed. For files that are no sets.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = path
        .parent()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it has no folder"))
        .on("write", path)?;
    let mut file = tempfile::Builder::new()
        .prefix(".")
        .suffix(".part")
        .permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o640))
        .tempfile_in(folder)
        .on("write", path)?;
    io::Write::write_all(&mut file, bytes).on("write", path)?;
    crate::sync::sync_file(file.as_file()).on("sync", path)?;
    file.persist(path).map_err(|error| error.error).on("rename", path)?;
    sync_folder(folder).on("sync", folder)
}
