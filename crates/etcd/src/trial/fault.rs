//! Why a copy is not proved: because of the copy, or because of this host.

use nightshift_core::proof::DrillVerdict;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The copy was tried, and cannot be restored.
    Copy(String),
    /// The copy could not be tried on this host, which says nothing about the copy.
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

/// Makes an error of this host a fault, with what was attempted.
pub trait Here<T> {
    fn here(self, attempt: impl FnOnce() -> String) -> Result<T, Fault>;
}

impl<T, E: std::error::Error + 'static> Here<T> for Result<T, E> {
    fn here(self, attempt: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|error| Fault::Here(format!("{}: {}", attempt(), nightshift_core::chain(&error))))
    }
}
