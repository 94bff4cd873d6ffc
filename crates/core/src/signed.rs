//! Who signed a set, an archive or a proof, as far as that was checked.

use std::fmt;

use crate::name::HostName;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// The signature is one of this host's, and of exactly these bytes.
    By(HostName),
    /// It has no signature.
    Unsigned,
    /// There is a signature that cannot be checked here, for this reason.
    Unchecked(String),
    /// The signature is wrong, or not that of the host that must have signed.
    Refused(String),
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::By(host) => write!(f, "signed by {host}"),
            Self::Unsigned => f.write_str("unsigned"),
            Self::Unchecked(reason) => write!(f, "signature unchecked: {reason}"),
            Self::Refused(reason) => write!(f, "signature refused: {reason}"),
        }
    }
}
