//! Files of one JSON value, each replaced as a whole.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::{IoContext as _, StoreError};
use crate::read::read_if_exists;
use crate::replace::replace_file;

/// `None` if the file does not exist. One of more than `most` bytes is an error.
pub fn read_json<T: DeserializeOwned>(path: &Path, most: u64) -> Result<Option<T>, StoreError> {
    let Some(bytes) = read_if_exists(path, most)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from).on("read", path)
}

pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    replace_file(path, &serde_json::to_vec(value).map_err(io::Error::from).on("write", path)?)
}
