//! Why an archive could not be written, or cannot be read.

use std::io;

use nightshift_core::manifest::ManifestError;
use nightshift_core::set_path::SetId;

use crate::contents::ContentsError;
use crate::damage::Damage;

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The caller may pack again without this set.
    #[error("the set {set} is damaged in `{path}`: the archive was given up, and can be packed without it")]
    Damaged { set: SetId, path: String, source: Box<Damage> },
    #[error("the set {0} is not of the night that is packed, or was named twice")]
    Misplaced(SetId),
    #[error("`{recipient}` is no age recipient ({why}): a public key such as `age1…` is expected")]
    Recipient { recipient: String, why: &'static str },
    #[error("the archive could not be encrypted to its recipients")]
    Encrypt(#[source] age::EncryptError),
    #[error("the archive's own manifest could not be made")]
    Encode(#[source] serde_json::Error),
    #[error("the archive could not be written")]
    Write(#[source] io::Error),
    #[error("the archive could not be read back while it was written, so it is none")]
    Unreadable(#[source] ListError),
    #[error("what was read back of the archive is not what was written: {wrote} entries, {read} read")]
    Unequal { wrote: u64, read: u64 },
    #[error("the check of the archive could not be run")]
    Checker(#[source] io::Error),
    #[error("packing was stopped")]
    Stopped,
}

/// Why writing ended early.
pub(crate) enum Halt {
    Failed(PackError),
    /// The checker found something, and says what.
    CheckerEnded,
}

impl From<PackError> for Halt {
    fn from(why: PackError) -> Self {
        Self::Failed(why)
    }
}

impl From<io::Error> for Halt {
    fn from(why: io::Error) -> Self {
        Self::Failed(PackError::Write(why))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("the archive cannot be read on after {after}")]
    BrokenAfter { after: String, source: io::Error },
    #[error("the archive cannot be read on within {path}")]
    BrokenWithin { path: String, source: io::Error },
    #[error("the archive is cut off after {after}: it has no end")]
    CutOff { after: String },
    #[error("bytes that are no part of the archive follow its end")]
    Trailing,
    #[error("{path} is refused: {why}")]
    Refused { path: String, why: &'static str },
    #[error("{path} is refused: the archive's manifests do not name it, or it comes twice or too early")]
    Unexpected { path: String },
    #[error("{path} is {found} where its manifest says {expected}")]
    Differs { path: String, expected: String, found: String },
    #[error("{path} is missing")]
    Absent { path: String },
    #[error("{path} is not the manifest of this archive")]
    Contents { path: String, source: ContentsError },
    #[error("{path} is no manifest that may be used")]
    Manifest { path: String, source: Box<ManifestError> },
    #[error("{path} has {found} bytes, more than the {most} that it may have")]
    TooLarge { path: String, found: u64, most: u64 },
    #[error("{path} unpacks to far more than any archive of ours: reading was given up")]
    Bomb { path: String },
    #[error("{path} cannot be taken out")]
    Taken { path: String, source: io::Error },
    #[error("the reading could not be begun")]
    Runtime(#[source] io::Error),
}
