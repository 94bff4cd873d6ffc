//! Why a copy is not proved: whether the copy is to blame is what everything else rests on.

use nightshift_core::proof::DrillVerdict;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It was tried, and the copy does not restore.
    Copy(String),
    /// It could not be tried, which says nothing about the copy.
    Here(String),
}

impl Fault {
    pub const fn verdict(&self) -> DrillVerdict {
        match self {
            Self::Copy(_) => DrillVerdict::NotRestorable,
            Self::Here(_) => DrillVerdict::NotProved,
        }
    }

    pub fn reason(self) -> String {
        match self {
            Self::Copy(reason) | Self::Here(reason) => reason,
        }
    }
}

/// Puts a failure of this machine, not of the copy, into words.
pub trait Here<T> {
    fn here(self, doing: impl FnOnce() -> String) -> Result<T, Fault>;
}

impl<T, E: std::error::Error + 'static> Here<T> for Result<T, E> {
    fn here(self, doing: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|error| Fault::Here(format!("{}: {}", doing(), nightshift_core::chain(&error))))
    }
}
