//! A scratch directory: one owner at a time, and removed with its owner, or by the next sweep if that was killed.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nightshift_store::{IoContext as _, StoreError, open_own};

/// The names of scratch directories, by use. Whatever else is in their parent does not belong to nightshift: an operator may
/// have set any directory.
pub const DRILL: &str = "nightshift-drill";
pub const REPLAY: &str = "nightshift-replay";
const OURS: [&str; 2] = [DRILL, REPLAY];

/// How often a directory is created again that a concurrent sweep removed, and how often its removal is tried.
const MAX_TRIES: usize = 10;

#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    #[error("{} is in use by another drill on this host", path.display())]
    Busy { path: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A directory below `[drill] scratch`, locked until this is dropped, and then removed.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Creates and locks the directory of this name; what a crash left in it is removed first.
    pub fn create(root: &Path, name: &str) -> Result<Self, ScratchError> {
        let directory = root.join(name);
        for _ in 0..MAX_TRIES {
            DirBuilder::new().recursive(true).mode(0o700).create(&directory).on("create", &directory)?;
            if let Some(lock) = lock(&directory)? {
                clear(&directory)?;
                return Ok(Self { directory, _lock: lock });
            }
        }
        Err(ScratchError::Busy { path: directory })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A thread that is being stopped may still write its last block. What stays is removed by the next sweep.
        for _ in 0..MAX_TRIES {
            if fs::remove_dir_all(&self.directory).is_ok() {
                return;
            }
        }
        tracing::warn!("cannot remove {} now; the next drill removes it", self.directory.display());
    }
}

/// Removes the directories of drills that were killed. A directory in use stays.
pub fn sweep(root: &Path) -> Result<(), StoreError> {
    for path in OURS.map(|name| root.join(name)) {
        let is_directory = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if is_directory && let Ok(Some(_lock)) = lock(&path) {
            fs::remove_dir_all(&path).on("remove", &path)?;
        }
    }
    Ok(())
}

/// `None` if another process has it locked, or if it was removed before it could be locked.
fn lock(directory: &Path) -> Result<Option<File>, StoreError> {
    let file = match open_own(directory) {
        Ok(file) => file,
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        locked => locked.map_err(io::Error::from).on("lock", directory)?,
    }
    let locked = file.metadata().on("stat", directory)?;
    let there = fs::symlink_metadata(directory);
    Ok(there.is_ok_and(|there| (there.dev(), there.ino()) == (locked.dev(), locked.ino())).then_some(file))
}

fn clear(directory: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(directory).on("list", directory)? {
        let entry = entry.on("list", directory)?;
        let path = entry.path();
        let is_directory = entry.file_type().on("stat", &path)?.is_dir();
        let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.on("remove", &path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_directory_has_one_owner_at_a_time_and_what_a_killed_one_left_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let left = root.path().join(DRILL);
        fs::create_dir_all(left.join("data/member")).unwrap();
        let scratch = Scratch::create(root.path(), DRILL).unwrap();
        assert!(!left.join("data").exists());
        fs::write(scratch.path("snapshot.db"), b"a").unwrap();

        assert!(matches!(Scratch::create(root.path(), DRILL), Err(ScratchError::Busy { .. })));
        sweep(root.path()).unwrap();
        assert!(left.join("snapshot.db").exists(), "a sweep removed a directory in use");
        drop(scratch);
        assert!(!left.exists());
    }

    #[test]
    fn a_link_in_place_of_a_scratch_directory_is_refused_and_its_target_stays() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("precious");
        fs::create_dir_all(target.join("sub")).unwrap();
        std::os::unix::fs::symlink(&target, root.path().join(DRILL)).unwrap();
        assert!(matches!(Scratch::create(root.path(), DRILL), Err(ScratchError::Store(_))));
        sweep(root.path()).unwrap();
        assert!(target.join("sub").exists());
    }

    #[test]
    fn a_sweep_removes_directories_that_are_not_in_use_and_nothing_that_is_not_its_own() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["nightshift-drill/data", "nightshift-replay", "etcd/member", "archive"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        sweep(root.path()).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["archive", "etcd"]);
        sweep(&root.path().join("not there")).unwrap();
    }
}
