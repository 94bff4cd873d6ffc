//! Why a set was not fetched.

use nightshift_core::manifest::ManifestError;
use nightshift_core::name::HostName;
use nightshift_core::outcome::Grade;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::VaultSettings;
use nightshift_core::units::bytes;
use nightshift_ssh::SftpError;
use nightshift_store::StoreError;
use nightshift_store::space::{self, SpaceError};

use crate::signed::SignedError;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Pruned there while it was read.
    #[error("{0} was removed on the peer while it was fetched")]
    Withdrawn(SetId),
    #[error("cannot read {0}")]
    Sftp(SetId, #[source] SftpError),
    #[error("cannot use the manifest of {0}")]
    Manifest(SetId, #[source] ManifestError),
    #[error("{0} is not authentic")]
    Signed(SetId, #[source] SignedError),
    #[error("{set} came from {from} and has no signature of {made_by}, its origin host")]
    Unsigned { set: SetId, from: HostName, made_by: HostName },
    #[error("{set}: the content of {path} differs from the manifest; it was fetched twice")]
    Content { set: SetId, path: String },
    #[error(
        "{set}: its etcd data failed verification, although its origin host graded it {grade}: {findings}"
    )]
    Unsound { set: SetId, grade: Grade, findings: String },
    #[error("{set} has {total}, more than [vault] {key} ({max}); raise it if this host is trusted to have so much", total = bytes(*.total), key = VaultSettings::max_set_size_key(.set.role), max = bytes(*.max))]
    TooLarge { set: SetId, total: u64, max: u64 },
    #[error(
        "{0} is not stored: its format is newer, and enough such sets of this host are stored tonight; upgrade masters first"
    )]
    TooManyNewer(SetId),
    #[error("{0}: the transfer is too slow: not complete within {1} s; a later run resumes it")]
    TooSlow(SetId, u64),
    #[error("{set}: cannot write {path}")]
    Write { set: SetId, path: String, source: std::io::Error },
    #[error("no space for {0}")]
    Space(SetId, #[source] SpaceError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FetchError {
    /// Whether this host has no space for it.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Space(..) => true,
            Self::Write { source, .. } => space::is_no_space(source),
            Self::Store(StoreError::Io { source, .. }) => space::is_no_space(source),
            _ => false,
        }
    }

    /// Whether the set itself is at fault: a retry would get the same.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Manifest(..)
                | Self::Signed(..)
                | Self::Unsigned { .. }
                | Self::Content { .. }
                | Self::Unsound { .. }
                | Self::TooLarge { .. }
                | Self::TooManyNewer(_)
        )
    }
}
