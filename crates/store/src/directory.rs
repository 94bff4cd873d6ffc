//! Listing, creating and removing, where a missing file or directory is a result and not an error.

use std::fs::{self, DirEntry, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::fault::{IoContext as _, StoreError};

/// The entries of a directory in the order of their names; none where it does not exist.
pub fn list(directory: &Path) -> Result<Vec<DirEntry>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.on("list", directory)?,
    };
    let mut entries = entries.collect::<io::Result<Vec<_>>>().on("list", directory)?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

/// Whether there is nothing at a path. A path that cannot be looked at is not absent: what is there must not count as removed.
pub fn is_absent(path: &Path) -> bool {
    let gone = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    fs::symlink_metadata(path).is_err_and(|error| gone.contains(&error.kind()))
}

/// Creates a directory and those above it, which only this user and the peers' group can read.
pub fn create_directories(directory: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new().recursive(true).mode(0o750).create(directory).on("create", directory)
}

/// Opens a directory that must be this user's, and not a link to one.
pub fn open_own(directory: &Path) -> Result<File, StoreError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty()).map_err(io::Error::from);
    let opened = File::from(opened.on("open", directory)?);
    let owner = opened.metadata().on("stat", directory)?.uid();
    if owner == rustix::process::geteuid().as_raw() {
        return Ok(opened);
    }
    let reason =
        format!("it belongs to the user with the id {owner}, who could change what is written there");
    Err(io::Error::other(reason)).on("write to", directory)
}

pub fn remove_file(path: &Path) -> Result<(), StoreError> {
    unless_missing(fs::remove_file(path)).on("remove", path)
}

/// Removes a directory with all that is in it.
pub fn remove_tree(directory: &Path) -> Result<(), StoreError> {
    unless_missing(fs::remove_dir_all(directory)).on("remove", directory)
}

fn unless_missing(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
