//! Why keys cannot be sorted.

use std::io;
use std::path::PathBuf;

use crate::read_error::ReadError;

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("cannot write the sorted keys to {}", directory.display())]
    Spill { directory: PathBuf, source: io::Error },
    #[error("cannot read the temporary file of sorted keys")]
    ReadBack(#[source] io::Error),
    #[error("cannot read the snapshot")]
    Walk(#[source] io::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("cannot compare the indexes: they were built without hashes of the values")]
    Unhashed,
}
