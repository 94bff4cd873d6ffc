//! Errors of the disk and of sets, each with its path or set.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use nightshift_core::manifest::ManifestError;
use nightshift_core::night::Night;
use nightshift_core::set_path::SetId;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the set {0} is published already, and is never replaced")]
    Published(SetId),
    #[error("another run writes the set {0}; retrying later")]
    Busy(SetId),
    #[error("{path} of {set} is missing or has another size than in the manifest; the set is not published")]
    Incomplete { set: SetId, path: String },
    #[error(
        "the vault that was used before is not at {}; mount its disk there, or if a new vault is intended, remove {}", path.display(), mark.display()
    )]
    LostVault { path: PathBuf, mark: PathBuf },
    #[error("night {0} is closed, and the record of a closed night is never replaced")]
    Closed(Night),
    #[error("cannot read the record {}; move the file elsewhere", path.display())]
    Record { path: PathBuf, source: Box<dyn Error + Send + Sync> },
    #[error("cannot use the manifest of {set}")]
    Manifest { set: SetId, source: ManifestError },
}

/// Adds to an IO error what was tried, and on which path.
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
