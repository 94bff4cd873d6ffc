//! Free space on a file system, checked before it is used.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nightshift_core::units::bytes;

use crate::budget::Spent;
use crate::fault::{IoContext as _, StoreError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes: free to this user, and in all.
    pub free: u64,
    pub total: u64,
    /// Inodes free; `None` where the file system does not count them.
    pub inodes: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    #[error("{} has {free} free; {need} are needed, and {leave} must stay free", path.display(), free = bytes(*free), need = bytes(*need), leave = bytes(*leave))]
    Bytes { path: PathBuf, free: u64, need: u64, leave: u64 },
    #[error("{} has {free} inodes free; {need} are needed", path.display())]
    Inodes { path: PathBuf, free: u64, need: u64 },
    #[error(transparent)]
    Spent(Spent),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub fn room(path: &Path) -> Result<Room, StoreError> {
    // The directory may not exist yet; the nearest one above it does.
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let stat = rustix::fs::statvfs(there).on("get the free space of", there)?;
    Ok(Room {
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        inodes: (stat.f_files > 0).then_some(stat.f_favail),
    })
}

/// Checks that `need` bytes and `files` inodes fit, and that `leave` bytes stay free.
pub fn require(path: &Path, need: u64, files: u64, leave: u64) -> Result<(), SpaceError> {
    let room = room(path)?;
    if room.free < need.saturating_add(leave) {
        return Err(SpaceError::Bytes { path: path.to_owned(), free: room.free, need, leave });
    }
    match room.inodes {
        Some(free) if free < files => Err(SpaceError::Inodes { path: path.to_owned(), free, need: files }),
        _ => Ok(()),
    }
}

/// Whether two paths, or the nearest existing directories above them, are on one file system.
pub fn same_file_system(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| {
        path.ancestors().find_map(|path| std::fs::metadata(path).ok()).map(|metadata| metadata.dev())
    };
    device(one) == device(other)
}

/// The bytes to leave free where `target` is on the file system of etcd's data, because etcd stops when its disk is full: a
/// tenth of it, at least twice the database.
pub fn beside_etcd(data_dir: Option<&Path>, target: &Path, db_size: u64) -> Result<u64, StoreError> {
    match data_dir.filter(|data_dir| same_file_system(data_dir, target)) {
        Some(data_dir) => Ok((room(data_dir)?.total / 10).max(db_size.saturating_mul(2))),
        None => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_free_space_is_refused_with_the_numbers() {
        let error = require(Path::new("/tmp"), u64::MAX / 2, 0, 0).unwrap_err();
        assert!(error.to_string().contains("must stay free"), "{error}");
        assert!(require(Path::new("/tmp/not/there/yet"), 1, 1, 0).is_ok());
    }
}
