//! The nights that an operator keeps, on disk.

use std::io;
use std::path::Path;

use nightshift_core::kept::KeptNights;

use crate::directory::create_directories;
use crate::fault::{IoContext as _, StoreError};
use crate::read::read_if_exists;
use crate::replace::replace_file;

const MAX_LEN: u64 = 1 << 20;

/// Those of this host. A file that cannot be read is an error: then nothing may be removed.
pub fn read(path: &Path) -> Result<KeptNights, StoreError> {
    let Some(bytes) = read_if_exists(path, MAX_LEN)? else { return Ok(KeptNights::default()) };
    serde_json::from_slice(&bytes).map_err(io::Error::from).on("read", path)
}

pub fn write(path: &Path, nights: &KeptNights) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec_pretty(nights).map_err(io::Error::from).on("write", path)?;
    if let Some(directory) = path.parent() {
        create_directories(directory)?;
    }
    replace_file(path, &bytes)
}
