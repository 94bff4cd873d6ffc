//! The marker `stopped`: which member was stopped, and how to start it. It is on disk before the stop, and removed when the member
//! runs again.
//!
//! It contains everything that a start needs, because at boot the configuration may be invalid.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nightshift_core::name::{ClusterName, HostName};
use nightshift_core::night::Night;
use nightshift_store::{
    IoContext as _, StoreError, read_if_exists, remove_file, replace_file, sync_directory,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const FILE: &str = "stopped";
const LOCK: &str = "lock";
const MAX_BYTES: u64 = 64 << 10;
pub const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker<S> {
    pub format: u32,
    pub cluster: ClusterName,
    pub host: HostName,
    pub night: Night,
    pub member: String,
    /// Its client URL.
    pub endpoint: String,
    pub service: S,
}

#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{} is invalid; start the etcd member by hand, then remove the file", .path.display())]
    Shape { path: PathBuf, source: serde_json::Error },
}

/// The directory with the marker, locked by one process at a time.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    _lock: File,
}

impl StateDirectory {
    /// `None` if another process has locked it.
    pub fn lock(directory: &Path) -> Result<Option<Self>, MarkerError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).on("create", directory)?;
        if let Some(parent) = directory.parent() {
            sync_directory(parent).on("sync", parent)?;
        }
        let path = directory.join(LOCK);
        let lock = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.on("open", &path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { path: directory.to_owned(), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Ok(Err(error).on("lock", &path)?),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn read<S: DeserializeOwned>(&self) -> Result<Option<Marker<S>>, MarkerError> {
        let path = self.path.join(FILE);
        let Some(bytes) = read_if_exists(&path, MAX_BYTES)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| MarkerError::Shape { path, source })
    }

    /// The marker and its directory are synced when this returns.
    pub fn write<S: Serialize>(&self, marker: &Marker<S>) -> Result<(), MarkerError> {
        let path = self.path.join(FILE);
        let encoded = serde_json::to_vec_pretty(marker)
            .map_err(|source| MarkerError::Shape { path: path.clone(), source })?;
        Ok(replace_file(&path, &encoded)?)
    }

    pub fn clear(&self) -> Result<(), MarkerError> {
        remove_file(&self.path.join(FILE))?;
        Ok(sync_directory(&self.path).on("sync", &self.path)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn marker() -> Marker<String> {
        Marker {
            format: FORMAT,
            cluster: "prod".parse().unwrap(),
            host: "etcd1.example.com".parse().unwrap(),
            night: "2026-11-22".parse().unwrap(),
            member: "etcd1".into(),
            endpoint: "https://10.0.3.1:2379".into(),
            service: "etcd.service".into(),
        }
    }

    #[test]
    fn a_marker_exists_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::lock(&directory.path().join("state")).unwrap().unwrap();
        assert_eq!(state.read::<String>().unwrap(), None);
        state.write(&marker()).unwrap();
        assert_eq!(state.read().unwrap(), Some(marker()));
        state.clear().unwrap();
        state.clear().unwrap();
        assert_eq!(state.read::<String>().unwrap(), None);
    }

    #[test]
    fn one_process_at_a_time_has_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let lock = StateDirectory::lock(directory.path()).unwrap().unwrap();
        assert!(StateDirectory::lock(directory.path()).unwrap().is_none());
        drop(lock);
        assert!(StateDirectory::lock(directory.path()).unwrap().is_some());
    }

    #[test]
    fn an_invalid_marker_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::lock(directory.path()).unwrap().unwrap();
        for bytes in [&b""[..], b"{}", &vec![b'x'; 1 << 20]] {
            fs::write(directory.path().join(FILE), bytes).unwrap();
            assert!(state.read::<String>().is_err());
        }
    }
}
