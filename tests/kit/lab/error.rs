//! What can go wrong in the lab, said with the command line and what it printed.

use std::fmt;
use std::io;
use std::time::Duration;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(thiserror::Error)]
pub enum Error {
    #[error("`{line}` ended with status {status}: {stderr}")]
    Failed { line: String, status: i32, stderr: String },
    #[error("`{line}` was still running after {after:?} and was killed")]
    TimedOut { line: String, after: Duration },
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("{what} did not happen within {after:?}; last seen: {last}")]
    Deadline { what: String, after: Duration, last: String },
    #[error("{0}")]
    Refused(String),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Tests unwrap: what they then print is meant to be read.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
