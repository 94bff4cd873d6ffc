//! Files of one JSON value, each replaced as a whole.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::{IoContext as _, StoreError};
use crate::read::read_if_exists;
use crate::replace::{Prepared, prepare};

/// `None` if the file does not exist. One of more than `most` bytes is an error.
pub fn read_json<T: DeserializeOwned>(path: &Path, most: u64) -> Result<Option<T>, StoreError> {
    let Some(bytes) = read_if_exists(path, most)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from).on("read", path)
}

pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    prepare_json(path, value)?.put_in_place()
}

/// As [`write_json`] up to the rename, so that a full disk is known before what follows.
pub fn prepare_json(path: &Path, value: &impl Serialize) -> Result<Prepared, StoreError> {
    prepare(path, &serde_json::to_vec(value).map_err(io::Error::from).on("write", path)?)
}

/// How the name of a file ends that was set aside.
pub const UNREADABLE: &str = "unreadable";

/// Renames a file that is not such a value to `….unreadable`, so that it stops nothing for ever, and returns why. An error of the disk is
/// not one of the file.
pub fn set_aside_unreadable<T: DeserializeOwned>(
    path: &Path,
    most: u64,
) -> Result<Option<StoreError>, StoreError> {
    use io::ErrorKind::{
        FileTooLarge, InvalidData, InvalidInput, IsADirectory, PermissionDenied, UnexpectedEof,
    };
    let Err(error) = read_json::<T>(path, most) else { return Ok(None) };
    let is_of_the_file = match &error {
        StoreError::Io { source, .. } => matches!(
            source.kind(),
            FileTooLarge | InvalidData | InvalidInput | IsADirectory | PermissionDenied | UnexpectedEof
        ),
        _ => false,
    };
    if !is_of_the_file {
        return Err(error);
    }
    fs::rename(path, aside(path)).on("rename", path)?;
    Ok(Some(error))
}

/// Where a file is set aside.
pub fn aside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(UNREADABLE);
    name.into()
}
