//! Why an archive could not be written, or cannot be read.

use std::io;

use nightshift_core::manifest::ManifestError;
use nightshift_core::set_path::SetId;

use crate::contents::ContentsError;
use crate::damage::Damage;

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The caller may pack again without this set.
    #[error("the set {set} is damaged in `{path}`: it cannot be packed")]
    Damaged { set: SetId, path: String, source: Box<Damage> },
    #[error("the set {0} is of another night, or was requested twice")]
    Misplaced(SetId),
    #[error("invalid age recipient `{recipient}` ({reason}); use a public key such as `age1…`")]
    Recipient { recipient: String, reason: &'static str },
    #[error("cannot encrypt the archive to its recipients")]
    Encrypt(#[source] age::EncryptError),
    #[error("cannot encode archive.json")]
    Encode(#[source] serde_json::Error),
    #[error("cannot write the archive")]
    Write(#[from] io::Error),
    #[error("the archive is invalid: it was read back while it was written")]
    Unreadable(#[source] ListError),
    #[error(
        "the archive that was read back differs from what was written: {wrote} entries written, {read} read"
    )]
    Unequal { wrote: u64, read: u64 },
    #[error("cannot read the archive back while it is written")]
    Checker(#[source] io::Error),
    #[error("packing was stopped")]
    Stopped,
}

#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// `place` is "after" the last entry that was read, or "within" the entry that is being read.
    #[error("cannot read the archive {place}")]
    Broken { place: String, source: io::Error },
    #[error("the archive is truncated after {after}")]
    Truncated { after: String },
    #[error("data follows the end of the archive")]
    Trailing,
    #[error("{path} is refused: {reason}")]
    Refused { path: String, reason: &'static str },
    #[error("{path} is refused: the archive's manifests do not list it, or it is repeated or too early")]
    Unexpected { path: String },
    #[error("{path} is {found}, but its manifest says {expected}")]
    Differs { path: String, expected: String, found: String },
    #[error("{path} is missing")]
    Missing { path: String },
    #[error("{path} is not the manifest of this archive")]
    Contents { path: String, source: ContentsError },
    #[error("{path} is not a valid manifest")]
    Manifest { path: String, source: Box<ManifestError> },
    #[error("{path} has {found} bytes, more than the maximum of {max}")]
    TooLarge { path: String, found: u64, max: u64 },
    #[error("{path} unpacks to far more than nightshift can have packed: stopped reading")]
    Bomb { path: String },
    #[error("cannot extract {path}")]
    Extract { path: String, source: io::Error },
    #[error("cannot start reading")]
    Runtime(#[source] io::Error),
}
