//! One daemon for each state directory: two would remove each other's unfinished files.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nightshift_store::create_directories;

/// The file is created when a daemon first starts on this directory, and never written again.
const FILE: &str = "daemon.lock";

#[derive(Debug, thiserror::Error)]
pub enum StateLockError {
    #[error(
        "another nightshift daemon runs on {}; stop it first (`systemctl status nightshift`), or give this one its own [paths] state",
        .0.display()
    )]
    Locked(PathBuf),
    #[error("cannot lock {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The lock is released when this is dropped, also by a crash.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    pub fn take(state: &Path) -> Result<Self, StateLockError> {
        let path = state.join(FILE);
        let failed = |source| StateLockError::Io { path: path.clone(), source };
        create_directories(state).map_err(|error| failed(io::Error::other(error)))?;
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StateLockError::Locked(state.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// When a daemon first started on this state directory; `None` if none ever did.
pub fn first_started(state: &Path) -> Option<Timestamp> {
    std::fs::metadata(state.join(FILE)).ok()?.modified().ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_daemon_on_one_state_directory_is_refused_until_the_first_one_ends() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert_eq!(first_started(&state), None);
        let first = StateLock::take(&state).unwrap();
        let since = first_started(&state).unwrap();
        let refused = StateLock::take(&state).unwrap_err();
        assert!(refused.to_string().contains("another nightshift daemon runs on"), "{refused}");
        drop(first);
        StateLock::take(&state).unwrap();
        assert_eq!(first_started(&state), Some(since));
    }
}
