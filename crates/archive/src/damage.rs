//! What makes a held set unfit for an archive.

use std::io;

use nightshift_core::digest::Digest;

/// How a file of a set differs from what its manifest says.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("it is no regular file")]
    NotAFile,
    #[error("it has {found} bytes where its manifest says {expected}")]
    Shorter { expected: u64, found: u64 },
    #[error("it has more than the {expected} bytes that its manifest says")]
    Longer { expected: u64 },
    #[error("its SHA-256 is {found} where its manifest says {expected}")]
    OtherContent { expected: Digest, found: Digest },
    #[error("it is not the manifest that was read when the set was chosen")]
    OtherManifest,
}
