//! Removing sets, the manifest first, and sweeping what a crash left.

use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::set_path::{DAMAGE_EXTENSION, SetDirName, SetId};
use nightshift_core::{hint, manifest};

use crate::directory::{is_absent, list, remove_file, remove_tree};
use crate::fault::{IoContext as _, StoreError};
use crate::layout::Vault;
use crate::partial::Guard;
use crate::sync::sync_directory;

/// A small file takes less to write; older halves were left by a crash.
const MAX_WRITE_TIME: Duration = Duration::from_secs(3600);

impl Vault {
    /// Removes a published set. It no longer exists after the first step, the removal of its manifest.
    pub fn remove(&self, set: &SetId) -> Result<(), StoreError> {
        let directory = self.directory(set);
        let manifest = directory.join(manifest::FILE);
        fs::remove_file(&manifest).on("remove", &manifest)?;
        sync_directory(&directory).on("sync", &directory)?;
        remove_tree(&directory)?;
        remove_tree(&self.root().join(set.proofs()))?;
        self.clear_damage(set)?;
        self.remove_if_empty(directory.parent())
    }

    /// Removes the directory of a host whose sets are removed, with its hint.
    pub fn remove_host(&self, host: &HostName) -> Result<(), StoreError> {
        let directory = self.host_directory(host);
        remove_file(&directory.join(hint::FILE))?;
        // What else is in it stays, such as a set that is being written.
        let _not_empty = fs::remove_dir(&directory);
        sync_directory(self.root()).on("sync", self.root())
    }

    /// Removes what a crash left: directories of sets without a manifest, and partial sets of other nights than `open` that no
    /// run is writing. Returns what was removed.
    pub fn sweep(&self, open: Option<Night>) -> Result<Vec<PathBuf>, StoreError> {
        let mut swept = Vec::new();
        for (_, host) in subdirectories::<HostName>(self.root())? {
            // What is in the way in one host's directory does not keep the others from being swept.
            if let Err(error) = self.sweep_host(&host, open, &mut swept) {
                tracing::warn!("{} is not swept: {}", host.display(), nightshift_core::chain(&error));
            }
        }
        Ok(swept)
    }

    fn sweep_host(
        &self,
        host: &Path,
        open: Option<Night>,
        swept: &mut Vec<PathBuf>,
    ) -> Result<(), StoreError> {
        swept.extend(sweep_incomplete(host)?);
        for (night, directory) in subdirectories::<Night>(host)? {
            for path in list(&directory)?.iter().map(DirEntry::path) {
                let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
                if let Some(of) = name.strip_suffix(DAMAGE_EXTENSION)
                    && of.parse::<SetDirName>().is_ok()
                    && !path.with_file_name(of).exists()
                {
                    remove_file(&path)?;
                    swept.push(path);
                    continue;
                }
                let torn = name.parse::<SetDirName>().is_ok()
                    && path.is_dir()
                    && is_absent(&path.join(manifest::FILE));
                let stale = Some(night) != open && is_left_over(&path, name)?;
                if let Some(of) = name.strip_suffix(".proofs")
                    && of.parse::<SetDirName>().is_ok()
                    && path.with_file_name(of).exists()
                {
                    swept.extend(sweep_incomplete(&path)?);
                }
                if torn || stale {
                    remove_tree(&path)?;
                    swept.push(path);
                }
            }
            // A stage may be about to write into the directory of the open night.
            if Some(night) != open {
                self.remove_if_empty(Some(&directory))?;
            }
        }
        Ok(())
    }

    /// Removes the directory of a night when it is empty. That of the host stays, because `now.json` is in it.
    fn remove_if_empty(&self, night: Option<&Path>) -> Result<(), StoreError> {
        let Some(night) = night else { return Ok(()) };
        match fs::remove_dir(night) {
            Ok(()) => {
                let host = night.parent().unwrap_or(night);
                sync_directory(host).on("sync", host)
            }
            // There are other sets in it, or it is gone already.
            Err(_) => Ok(()),
        }
    }
}

/// The directories whose names are of this kind. A link is not one: nothing outside the vault is swept.
fn subdirectories<T: FromStr>(directory: &Path) -> Result<Vec<(T, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for entry in list(directory)? {
        let path = entry.path();
        if let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && entry.file_type().on("stat", &path)?.is_dir()
        {
            found.push((name, path));
        }
    }
    Ok(found)
}

/// Whether an entry of a past night was left by a crash: part of a set that was being written, or proofs without their
/// set.
fn is_left_over(path: &Path, name: &str) -> Result<bool, StoreError> {
    if let Some(of) = name.strip_suffix(".proofs") {
        return Ok(of.parse::<SetDirName>().is_ok() && !path.with_file_name(of).exists());
    }
    if !name.starts_with('.') {
        return Ok(false);
    }
    // A pull that started late may still be writing it.
    Ok(name.ends_with(".link") || (name.ends_with(".partial") && Guard::take(path)?.is_some()))
}

/// Removes incomplete `now.json` and proofs that a crash left.
fn sweep_incomplete(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut swept = Vec::new();
    for entry in list(directory)? {
        let is_part = entry.file_name().to_str().is_some_and(|n| n.starts_with('.') && n.ends_with(".part"));
        let age =
            entry.metadata().and_then(|there| there.modified()).map(|at| at.elapsed().unwrap_or_default());
        if is_part && age.is_ok_and(|age| age > MAX_WRITE_TIME) {
            remove_file(&entry.path())?;
            swept.push(entry.path());
        }
    }
    Ok(swept)
}
