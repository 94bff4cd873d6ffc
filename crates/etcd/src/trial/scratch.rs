//! A folder to restore into: one owner at a time, and swept when that is gone, however it went.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use nightshift_store::{IoContext as _, StoreError};

/// What the folders are called. Nothing else in the scratch folder is ours: a person may have named any.
pub const DRILL: &str = "nightshift-drill";
pub const ARCHIVE: &str = "nightshift-archive";
pub const FOREIGN: &str = "nightshift-foreign";
pub const REPLAY: &str = "nightshift-replay";
const OURS: [&str; 4] = [DRILL, ARCHIVE, FOREIGN, REPLAY];

/// How often a folder that is removed under us by a sweep is made again.
const TRIES: usize = 10;

#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    #[error("{} is in use: another drill runs on this host", path.display())]
    Busy { path: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A folder below the scratch folder, locked for as long as this lives, and removed with it.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Takes the folder of this name; what a crash left in it is removed first.
    pub fn take(root: &Path, name: &str) -> Result<Self, ScratchError> {
        let folder = root.join(name);
        for _ in 0..TRIES {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).on("create", &folder)?;
            if let Some(lock) = lock(&folder)? {
                clear(&folder)?;
                return Ok(Self { folder, _lock: lock });
            }
        }
        Err(ScratchError::Busy { path: folder })
    }

    /// Gives it, and a file in it, to whom the scratch folder is: root reads for a worker that is not root.
    pub fn hand_over(&self, name: &str) -> Result<(), StoreError> {
        let root = self.folder.parent().unwrap_or(&self.folder);
        let owner = fs::metadata(root).on("stat", root)?;
        if rustix::process::geteuid().is_root() {
            for path in [self.path(name), self.folder.clone()] {
                chown(&path, Some(owner.uid()), Some(owner.gid())).on("hand over", &path)?;
            }
        }
        Ok(())
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A thread that was told to stop may still be at its last block; a sweep takes what stays all the same.
        for _ in 0..TRIES {
            if fs::remove_dir_all(&self.folder).is_ok() {
                return;
            }
        }
        tracing::warn!("{} cannot be removed now: the next drill will", self.folder.display());
    }
}

/// Removes what drills left that were killed. What is in use stays.
pub fn sweep(root: &Path) -> Result<(), StoreError> {
    for path in OURS.map(|name| root.join(name)) {
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if is_folder && let Ok(Some(_lock)) = lock(&path) {
            fs::remove_dir_all(&path).on("remove", &path)?;
        }
    }
    Ok(())
}

/// `None` where somebody holds it, or where it was removed before it could be locked.
fn lock(folder: &Path) -> Result<Option<File>, StoreError> {
    let file = match File::open(folder) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).on("open", folder),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        locked => locked.on("lock", folder)?,
    }
    let locked = file.metadata().on("stat", folder)?;
    let there = fs::metadata(folder);
    Ok(there.is_ok_and(|there| (there.dev(), there.ino()) == (locked.dev(), locked.ino())).then_some(file))
}

fn clear(folder: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).on("list", folder)? {
        let path = entry.on("list", folder)?.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.on("remove", &path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_drill_at_a_time_and_what_a_killed_one_left_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let left = root.path().join(DRILL);
        fs::create_dir_all(left.join("data/member")).unwrap();
        let scratch = Scratch::take(root.path(), DRILL).unwrap();
        assert!(!left.join("data").exists());
        fs::write(scratch.path("snapshot.db"), b"a").unwrap();

        assert!(matches!(Scratch::take(root.path(), DRILL), Err(ScratchError::Busy { .. })));
        sweep(root.path()).unwrap();
        assert!(left.join("snapshot.db").exists(), "a sweep took what is in use");
        drop(scratch);
        assert!(!left.exists());
    }

    #[test]
    fn a_sweep_takes_what_nobody_holds_and_nothing_that_is_not_ours() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["nightshift-drill/data", "nightshift-archive", "etcd/member", "archive"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        sweep(root.path()).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["archive", "etcd"]);
        sweep(&root.path().join("not there")).unwrap();
    }
}
