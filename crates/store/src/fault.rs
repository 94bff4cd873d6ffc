//! What goes wrong on disk, always with the path.

use std::io;
use std::path::{Path, PathBuf};

use nightshift_core::manifest::ManifestError;
use nightshift_core::set_path::SetId;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the set {0} is published already: it is never replaced")]
    Published(SetId),
    #[error("the set {0} is being written already: it is looked at again later")]
    Busy(SetId),
    #[error("{path} of {set} is not there as its manifest has it, so the set is not published")]
    Incomplete { set: SetId, path: String },
    #[error("the manifest of {set} cannot be used")]
    Manifest { set: SetId, source: ManifestError },
    #[error("{} has {size} bytes, more than the {most} that are read of it", path.display())]
    TooBig { path: PathBuf, size: u64, most: u64 },
}

/// Adds what was tried, and on which path, to an IO error.
pub trait IoContext<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io { action, path: path.to_owned(), source })
    }
}

impl<T> IoContext<T> for rustix::io::Result<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(io::Error::from).on(action, path)
    }
}

impl StoreError {
    /// Whether the disk is full or a quota is used up.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}
