//! What can go wrong in a command of the project.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot start `{line}`")]
    Start { line: String, source: io::Error },
    #[error("`{line}` ended with {status}")]
    Failed { line: String, status: ExitStatus },
    #[error("cannot {what} {}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "cannot install the tools that {list} pins: python3 with pip must be installed, and pip must reach a \
         package index that has these versions (proxies and mirrors: pip's own configuration)"
    )]
    Tools { list: &'static str, source: Box<Self> },
    #[error("{0}")]
    Missing(String),
    #[error("a store that syncs nothing must fail each power-cut test, but `{line}` ended with: {result}")]
    Undetected { line: String, result: String },
    #[error("unknown command\n\n{0}")]
    Usage(&'static str),
    #[error(transparent)]
    Source(#[from] source::Error),
    #[error(transparent)]
    Kit(#[from] kit::lab::Error),
}

impl Error {
    pub fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
