//! Reading small files, never more of them than they may contain.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;

use crate::fault::{IoContext as _, StoreError};

/// The content of a file of at most `max` bytes.
pub fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, StoreError> {
    let file = File::open(path).on("open", path)?;
    nightshift_core::read_bounded(file, max).on("read", path)
}

/// As `read_bounded`; `None` where there is no such file.
pub fn read_if_exists(path: &Path, max: u64) -> Result<Option<Vec<u8>>, StoreError> {
    match read_bounded(path, max) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// The last bytes of a file, at most `max`.
pub fn read_tail(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(max)))?;
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}
