//! Why a restore cannot go on.

use std::io;
use std::path::{Path, PathBuf};

use nightshift_archive::ListError;
use nightshift_core::chain;
use nightshift_etcd::trial::fault::Fault;
use nightshift_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("cannot {doing} {}", .path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{} is not a valid archive", .path.display())]
    Archive { path: PathBuf, source: ListError },
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    #[error("{} is not the directory of a restore: {reason}", .path.display())]
    NotARestore { path: PathBuf, reason: String },
    #[error("{0}")]
    Refused(String),
}

impl From<RestoreError> for Fault {
    fn from(error: RestoreError) -> Self {
        Self::Here(chain(&error))
    }
}

pub trait Doing<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, RestoreError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, RestoreError> {
        self.map_err(|source| RestoreError::Io { doing, path: path.to_owned(), source })
    }
}
