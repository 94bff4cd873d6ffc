//! When an archive was last opened with its real key: the fact without which no encrypted archive is known to be of use.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::directory::create_directories;
use crate::fault::{IoContext as _, StoreError};
use crate::read::read_if_exists;
use crate::replace::replace_file;

const MAX_LEN: u64 = 64 << 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    pub at: Timestamp,
    /// The archive's name.
    pub archive: String,
    /// The public key that belongs to the key that opened it.
    pub recipient: String,
}

impl Opened {
    pub fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        let Some(bytes) = read_if_exists(path, MAX_LEN)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from).on("read", path)
    }

    pub fn keep(&self, path: &Path) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::from).on("write", path)?;
        if let Some(directory) = path.parent() {
            create_directories(directory)?;
        }
        replace_file(path, &bytes)
    }
}
