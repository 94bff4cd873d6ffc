//! Publishing a set: everything is synced, the manifest last, then one rename makes it visible.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nightshift_core::digest::Digest;
use nightshift_core::manifest::{self, FileList};

use crate::directory::{list, remove_file, remove_tree};
use crate::fault::{IoContext as _, StoreError};
use crate::partial::Partial;
use crate::sync::sync_directory;

impl Partial {
    /// Makes the set visible under its name. Its files must be synced already.
    ///
    /// `manifest` is stored byte for byte, because its signature and its hash are those of the bytes.
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
        sync_tree(self.directory())?;

        let published = self.vault().directory(&set);
        // A directory without a manifest is left of a removal that a crash interrupted.
        if published.exists() && !self.vault().contains(&set) {
            remove_tree(&published)?;
        }
        if self.vault().contains(&set) {
            return Err(StoreError::Published(set));
        }
        // It was about a copy that was removed since.
        self.vault().clear_damage(&set)?;
        fs::rename(self.directory(), &published).on("publish", &published)?;
        for parent in published.ancestors().skip(1) {
            sync_directory(parent).on("sync", parent)?;
            if parent == self.vault().root() {
                break;
            }
        }
        Ok(Digest::of(manifest))
    }

    /// Every file in the manifest must be there in its size. Their content was hashed when they were written.
    fn check_files(&self, listed: &FileList) -> Result<(), StoreError> {
        let missing = listed.files.iter().find(|file| {
            !fs::symlink_metadata(self.directory().join(&file.path))
                .is_ok_and(|there| there.is_file() && there.len() == file.size)
        });
        match missing {
            Some(file) => Err(StoreError::Incomplete { set: self.set().clone(), path: file.path.clone() }),
            None => Ok(()),
        }
    }

    /// Removes files that the manifest does not list, such as those of an earlier attempt.
    fn remove_strays(&self, listed: &FileList) -> Result<(), StoreError> {
        let listed: BTreeSet<_> = listed.files.iter().map(|file| self.directory().join(&file.path)).collect();
        let mut directories = vec![self.directory().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in list(&directory)? {
                let path = entry.path();
                if entry.file_type().on("stat", &path)?.is_dir() {
                    directories.push(path);
                } else if !listed.contains(&path) {
                    remove_file(&path)?;
                }
            }
        }
        Ok(())
    }
}

/// Syncs a directory and all below it, the deepest first.
fn sync_tree(directory: &Path) -> Result<(), StoreError> {
    for entry in list(directory)? {
        if entry.file_type().on("stat", &entry.path())?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    sync_directory(directory).on("sync", directory)
}
