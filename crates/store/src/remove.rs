//! Removing sets, the manifest first, and sweeping what a crash left behind.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use nightshift_core::manifest;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::set_path::{SetDirName, SetId};

use crate::fault::{IoContext as _, StoreError};
use crate::layout::Vault;
use crate::partial::Guard;
use crate::sync::sync_folder;

/// After so long nobody writes a small file any more.
const HALF_WRITTEN: Duration = Duration::from_secs(3600);

impl Vault {
    /// Removes a published set. From the first step on it no longer exists; the rest is sweeping.
    pub fn remove(&self, set: &SetId) -> Result<(), StoreError> {
        let folder = self.folder(set);
        let manifest = folder.join(manifest::FILE);
        fs::remove_file(&manifest).on("remove", &manifest)?;
        sync_folder(&folder).on("sync", &folder)?;
        fs::remove_dir_all(&folder).on("remove", &folder)?;
        remove_tree(&self.root().join(set.proofs()))?;
        self.remove_empty_parents(&folder)
    }

    /// Removes what a crash left: folders under a set's name without a manifest, and partials of other
    /// nights than `open` that nobody writes to. Returns what was removed.
    pub fn sweep(&self, open: Option<Night>) -> Result<Vec<PathBuf>, StoreError> {
        let mut swept = Vec::new();
        for host in self.host_folders()? {
            swept.extend(sweep_halves(&host)?);
            for (night, folder) in night_folders(&host)? {
                for entry in fs::read_dir(&folder).on("list", &folder)? {
                    let path = entry.on("list", &folder)?.path();
                    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
                    let torn = name.parse::<SetDirName>().is_ok() && !path.join(manifest::FILE).exists();
                    let stale = Some(night) != open && is_left_over(&path, name)?;
                    if let Some(of) = name.strip_suffix(".proofs")
                        && of.parse::<SetDirName>().is_ok()
                        && path.with_file_name(of).exists()
                    {
                        swept.extend(sweep_halves(&path)?);
                    }
                    if torn || stale {
                        remove_tree(&path)?;
                        swept.push(path);
                    }
                }
                // A stage may be about to write into the open night's folder.
                if Some(night) != open {
                    self.remove_empty_parents(&folder.join("x"))?;
                }
            }
        }
        Ok(swept)
    }

    fn host_folders(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut folders = subfolders(self.root())?;
        folders.retain(|folder| parsed::<HostName>(folder).is_some());
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

fn night_folders(host: &Path) -> Result<Vec<(Night, PathBuf)>, StoreError> {
    let nights = subfolders(host)?.into_iter();
    Ok(nights.filter_map(|folder| Some((parsed(&folder)?, folder))).collect())
}

/// Whether an entry of a past night is what a crash left: of a set that was being written, or of one that was removed
/// before its proofs were.
fn is_left_over(path: &Path, name: &str) -> Result<bool, StoreError> {
    if let Some(of) = name.strip_suffix(".proofs") {
        return Ok(of.parse::<SetDirName>().is_ok() && !path.with_file_name(of).exists());
    }
    if !name.starts_with('.') {
        return Ok(false);
    }
    // A pull that began late may be at it still.
    Ok(name.ends_with(".link") || (name.ends_with(".partial") && Guard::take(path)?.is_some()))
}

/// Removes halves of `now.json` and of proofs that a crash left: none takes an hour to write.
fn sweep_halves(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut swept = Vec::new();
    for entry in fs::read_dir(folder).on("list", folder)? {
        let entry = entry.on("list", folder)?;
        let is_part = entry.file_name().to_str().is_some_and(|n| n.starts_with('.') && n.ends_with(".part"));
        let age =
            entry.metadata().and_then(|there| there.modified()).map(|at| at.elapsed().unwrap_or_default());
        if is_part && age.is_ok_and(|age| age > HALF_WRITTEN) {
            fs::remove_file(entry.path()).on("remove", &entry.path())?;
            swept.push(entry.path());
        }
    }
    Ok(swept)
}

fn parsed<T: FromStr>(folder: &Path) -> Option<T> {
    folder.file_name()?.to_str()?.parse().ok()
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
