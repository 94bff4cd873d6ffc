//! Removing sets, the manifest first, and sweeping what a crash left behind.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nightshift_core::manifest;
use nightshift_core::night::Night;
use nightshift_core::set_path::{SetFolder, SetId};

use super::fault::{IoContext as _, StoreError};
use super::layout::Vault;
use super::sync::sync_folder;

impl Vault {
    /// Removes a published set. From the first step on it no longer exists; the rest is sweeping.
    pub fn remove(&self, set: &SetId) -> Result<(), StoreError> {
        let folder = self.folder(set);
        let manifest = folder.join(manifest::FILE);
        fs::remove_file(&manifest).on("remove", &manifest)?;
        sync_folder(&folder).on("sync", &folder)?;
        fs::remove_dir_all(&folder).on("remove", &folder)?;
        let proofs = folder.with_file_name(format!("{}.proofs", set.folder()));
        remove_tree(&proofs)?;
        self.remove_empty_parents(&folder)
    }

    /// Removes what a crash left: folders under a set's name without a manifest, and partials of other
    /// nights than `open`. Returns what was removed.
    pub fn sweep(&self, open: Option<Night>) -> Result<Vec<PathBuf>, StoreError> {
        let mut swept = Vec::new();
        for night_folder in self.night_folders()? {
            let night =
                night_folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            for entry in fs::read_dir(&night_folder).on("list", &night_folder)? {
                let path = entry.on("list", &night_folder)?.path();
                let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
                let torn = name.parse::<SetFolder>().is_ok() && !path.join(manifest::FILE).exists();
                let stale = name.starts_with('.')
                    && (name.ends_with(".partial") || name.ends_with(".link"))
                    && night != open;
                if torn || stale {
                    remove_tree(&path)?;
                    swept.push(path);
                }
            }
            self.remove_empty_parents(&night_folder.join("x"))?;
        }
        Ok(swept)
    }

    fn night_folders(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut folders = Vec::new();
        for host in subfolders(self.root())? {
            folders.extend(subfolders(&host)?.into_iter().filter(|folder| {
                folder
                    .file_name()
                    .and_then(|name| name.to_str())
                    .is_some_and(|name| name.parse::<Night>().is_ok())
            }));
        }
        Ok(folders)
    }

    /// Removes the night's folder when it holds nothing any more. The host's stays, for its `now.json`.
    fn remove_empty_parents(&self, below: &Path) -> Result<(), StoreError> {
        let Some(night) = below.parent() else { return Ok(()) };
        match fs::remove_dir(night) {
            Ok(()) => {
                let host = night.parent().unwrap_or(night);
                sync_folder(host).on("sync", host)
            }
            // It holds other sets still, or is gone already.
            Err(_) => Ok(()),
        }
    }
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).on("list", folder),
    };
    let mut folders = Vec::new();
    for entry in listing {
        let entry = entry.on("list", folder)?;
        if entry.file_type().on("stat", &entry.path())?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

fn remove_tree(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).on("remove", path),
        _ => Ok(()),
    }
}
