//! Why an upload failed.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::sftp::SftpError;

#[derive(Debug, Error)]
pub enum UploadError {
    #[error("no connection is available for the upload")]
    NoSessions,
    #[error("cannot read {}", path.display())]
    Local { path: PathBuf, source: io::Error },
    #[error("{} changed while it was uploaded", path.display())]
    LocalChanged { path: PathBuf },
    #[error("{peer}: {path} has {found} bytes after the upload, but should have {expected}")]
    WrongSize { peer: String, path: String, found: u64, expected: u64 },
    #[error(transparent)]
    Remote(#[from] SftpError),
}

impl UploadError {
    pub(super) fn local(path: &Path, source: io::Error) -> Self {
        Self::Local { path: path.to_owned(), source }
    }
}
