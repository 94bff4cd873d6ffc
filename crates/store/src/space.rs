//! Free space on a file system, checked before it is used.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nightshift_core::units::bytes;

use crate::fault::{IoContext as _, StoreError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes: free to this user, and in all. Of a file system that does not know its size, everything is free, and the total is 0.
    pub free: u64,
    pub total: u64,
    /// Inodes free; `None` where the file system does not count them.
    pub inodes: Option<u64>,
}

/// Bytes and inodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    pub bytes: u64,
    pub inodes: u64,
}

impl Amount {
    pub(crate) const MAX: Self = Self { bytes: u64::MAX, inodes: u64::MAX };

    pub const fn bytes(bytes: u64) -> Self {
        Self { bytes, inodes: u64::MAX }
    }

    pub(crate) const fn covers(self, wanted: Self) -> bool {
        self.bytes >= wanted.bytes && self.inodes >= wanted.inodes
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            inodes: self.inodes.saturating_add(other.inodes),
        }
    }

    pub(crate) const fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            inodes: self.inodes.saturating_sub(other.inodes),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    #[error("{} has {free} free{reserved}; {need} are needed, and {leave} must stay free", path.display(), free = bytes(*free), reserved = of_which(*reserved), need = bytes(*need), leave = bytes(*leave))]
    Bytes { path: PathBuf, free: u64, reserved: u64, need: u64, leave: u64 },
    #[error("{} has {free} inodes free; {need} are needed", path.display())]
    Inodes { path: PathBuf, free: u64, need: u64 },
    #[error(
        "the set would exceed its maximum of {}, which [vault] most-per-node or most-per-master sets, or its manifest",
        shown(*.0)
    )]
    TooLarge(Amount),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn shown(max: Amount) -> String {
    let inodes = if max.inodes == u64::MAX { String::new() } else { format!(" and {} inodes", max.inodes) };
    format!("{}{inodes}", bytes(max.bytes))
}

fn of_which(reserved: u64) -> String {
    if reserved == 0 {
        String::new()
    } else {
        format!(", of which {} are reserved for other sets", bytes(reserved))
    }
}

pub fn room(path: &Path) -> Result<Room, StoreError> {
    // The directory may not exist yet; the nearest one above it does.
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let stat = rustix::fs::statvfs(there).on("get the free space of", there)?;
    // Some file systems in user space do not know their size, and report no blocks at all.
    let is_known = stat.f_blocks > 0;
    Ok(Room {
        free: if is_known { stat.f_bavail.saturating_mul(stat.f_frsize) } else { u64::MAX },
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        inodes: (stat.f_files > 0).then_some(stat.f_favail),
    })
}

/// Checks that `need` bytes and `files` inodes fit, and that `leave` bytes stay free.
pub fn require(path: &Path, need: u64, files: u64, leave: u64) -> Result<(), SpaceError> {
    check(path, Amount { bytes: need, inodes: files }, leave, Amount::default())
}

/// As `require`, beside what is reserved for others.
pub(crate) fn check(path: &Path, need: Amount, leave: u64, reserved: Amount) -> Result<(), SpaceError> {
    let room = room(path)?;
    if room.free < need.bytes.saturating_add(reserved.bytes).saturating_add(leave) {
        let (free, need, reserved) = (room.free, need.bytes, reserved.bytes);
        return Err(SpaceError::Bytes { path: path.to_owned(), free, reserved, need, leave });
    }
    let need = need.inodes.saturating_add(reserved.inodes);
    match room.inodes {
        Some(free) if free < need => Err(SpaceError::Inodes { path: path.to_owned(), free, need }),
        _ => Ok(()),
    }
}

/// Whether a write failed because the disk, the quota or the set's budget is used up.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
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
