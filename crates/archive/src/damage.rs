//! Why a stored set cannot be packed.

use std::io;

use nightshift_core::digest::Digest;

/// How a file of a set differs from its manifest.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("it is not a regular file")]
    NotAFile,
    #[error("it has {found} bytes, but its manifest says {expected}")]
    Shorter { expected: u64, found: u64 },
    #[error("it has more than the {expected} bytes that its manifest says")]
    Longer { expected: u64 },
    #[error("its SHA-256 is {found}, but its manifest says {expected}")]
    OtherContent { expected: Digest, found: Digest },
    #[error("it has changed since the set was chosen")]
    OtherManifest,
}
