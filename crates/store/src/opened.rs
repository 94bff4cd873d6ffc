//! When an archive was last opened with its real key: the fact without which no encrypted archive is known to be of use.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::directory::create_directories;
use crate::fault::StoreError;
use crate::json_file::{read_json, write_json};

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
        read_json(path, MAX_LEN)
    }

    pub fn keep(&self, path: &Path) -> Result<(), StoreError> {
        if let Some(directory) = path.parent() {
            create_directories(directory)?;
        }
        write_json(path, self)
    }
}
