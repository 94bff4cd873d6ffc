//! `stopped`: what was stopped, and how it is started again. On disk before it is stopped, gone once it was seen running.
//!
//! It says all that a start takes, for at boot the config may be one that no longer reads.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nightshift_core::name::{ClusterName, HostName};
use nightshift_core::night::Night;
use rustix::fs::FlockOperation;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use nightshift_store::{StoreError, read_bounded, replace_file, sync_folder};

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
    /// Where it listens once it runs.
    pub endpoint: String,
    pub service: S,
}

#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    #[error("cannot {what} {}", .path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{} says nothing that is understood: start the etcd member by hand, then remove it", .path.display())]
    Shape { path: PathBuf, source: serde_json::Error },
}

/// The folder with the marker, held by one process at a time.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    _held: File,
}

impl State {
    /// `None` where another process holds it.
    pub fn hold(folder: &Path) -> Result<Option<Self>, MarkerError> {
        let on = |what, path: PathBuf| move |source| MarkerError::Io { what, path, source };
        (fs::DirBuilder::new().recursive(true).mode(0o700).create(folder))
            .map_err(on("make", folder.to_owned()))?;
        if let Some(parent) = folder.parent() {
            sync_folder(parent).map_err(on("sync", parent.to_owned()))?;
        }
        let path = folder.join(LOCK);
        let lock = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(on("open", path.clone()))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { folder: folder.to_owned(), _held: lock })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(on("lock", path)(errno.into())),
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn read<S: DeserializeOwned>(&self) -> Result<Option<Marker<S>>, MarkerError> {
        let path = self.folder.join(FILE);
        if !path.try_exists().map_err(|source| MarkerError::Io {
            what: "look for",
            path: path.clone(),
            source,
        })? {
            return Ok(None);
        }
        let bytes = read_bounded(&path, MAX_BYTES)?;
        serde_json::from_slice(&bytes).map(Some).map_err(|source| MarkerError::Shape { path, source })
    }

    /// On disk, folder and all, when this returns.
    pub fn write<S: Serialize>(&self, marker: &Marker<S>) -> Result<(), MarkerError> {
        let path = self.folder.join(FILE);
        let encoded = serde_json::to_vec_pretty(marker)
            .map_err(|source| MarkerError::Shape { path: path.clone(), source })?;
        Ok(replace_file(&path, &encoded)?)
    }

    pub fn clear(&self) -> Result<(), MarkerError> {
        let path = self.folder.join(FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(()) => sync_folder(&self.folder).map_err(|source| MarkerError::Io {
                what: "sync",
                path: self.folder.clone(),
                source,
            }),
            Err(source) => Err(MarkerError::Io { what: "remove", path, source }),
        }
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
    fn a_marker_is_there_from_its_writing_to_its_removal() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::hold(&folder.path().join("state")).unwrap().unwrap();
        assert_eq!(state.read::<String>().unwrap(), None);
        state.write(&marker()).unwrap();
        assert_eq!(state.read().unwrap(), Some(marker()));
        state.clear().unwrap();
        state.clear().unwrap();
        assert_eq!(state.read::<String>().unwrap(), None);
    }

    #[test]
    fn the_folder_is_held_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = State::hold(folder.path()).unwrap().unwrap();
        assert!(State::hold(folder.path()).unwrap().is_none());
        drop(held);
        assert!(State::hold(folder.path()).unwrap().is_some());
    }

    #[test]
    fn a_marker_that_says_nothing_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::hold(folder.path()).unwrap().unwrap();
        for bytes in [&b""[..], b"{}", &vec![b'x'; 1 << 20]] {
            fs::write(folder.path().join(FILE), bytes).unwrap();
            assert!(state.read::<String>().is_err());
        }
    }
}
