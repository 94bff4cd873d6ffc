//! The nights that an operator keeps, on disk.

use std::path::Path;

use nightshift_core::kept::KeptNights;

use crate::directory::create_directories;
use crate::fault::StoreError;
use crate::json_file::{read_json, write_json};

const MAX_LEN: u64 = 1 << 20;

/// Those of this host. A file that cannot be read is an error: then nothing may be removed.
pub fn read(path: &Path) -> Result<KeptNights, StoreError> {
    Ok(read_json(path, MAX_LEN)?.unwrap_or_default())
}

pub fn write(path: &Path, nights: &KeptNights) -> Result<(), StoreError> {
    if let Some(directory) = path.parent() {
        create_directories(directory)?;
    }
    write_json(path, nights)
}
