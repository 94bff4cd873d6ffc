//! Replacing a small file as a whole: a reader sees the old content or the new one.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::fault::{IoContext as _, StoreError};
use crate::sync::{sync_directory, sync_file};

/// Replaces a small file: writes it under another name, syncs and renames it. Not for files of sets.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    prepare(path, bytes)?.put_in_place()
}

/// The new content of a small file, under another name.
#[derive(Debug)]
pub struct Prepared {
    file: NamedTempFile,
    path: PathBuf,
}

pub(crate) fn prepare(path: &Path, bytes: &[u8]) -> Result<Prepared, StoreError> {
    Ok(Prepared { file: write_aside(parent(path)?, path, bytes)?, path: path.to_owned() })
}

impl Prepared {
    pub fn put_in_place(self) -> Result<(), StoreError> {
        persist(self.file, parent(&self.path)?, &self.path)
    }
}

/// As [`replace_file`], for a file that every user may read.
pub fn replace_public_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let directory = parent(path)?;
    let file = write_aside(directory, path, bytes)?;
    // After it was created, because the daemon's umask takes these bits away.
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).on("chmod", path)?;
    persist(file, directory, path)
}

fn parent(path: &Path) -> Result<&Path, StoreError> {
    path.parent()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is not in a directory"))
        .on("write", path)
}

fn persist(file: NamedTempFile, directory: &Path, path: &Path) -> Result<(), StoreError> {
    file.persist(path).map_err(|error| error.error).on("rename", path)?;
    sync_directory(directory).on("sync", directory)
}

/// Creates a small file, whole or not at all. An error of the kind `AlreadyExists` if there is one of this name, which stays.
pub fn create_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let directory =
        path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let file = write_aside(directory, path, bytes)?;
    file.persist_noclobber(path).map_err(|error| error.error).on("create", path)?;
    sync_directory(directory).on("sync", directory)
}

/// Writes the content of a small file under a temporary name in its directory, synced.
pub fn write_aside(directory: &Path, path: &Path, bytes: &[u8]) -> Result<NamedTempFile, StoreError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".part").permissions(fs::Permissions::from_mode(0o640));
    let mut file = builder.tempfile_in(directory).on("write", path)?;
    file.write_all(bytes).on("write", path)?;
    sync_file(file.as_file()).on("sync", path)?;
    Ok(file)
}
