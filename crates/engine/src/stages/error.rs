//! Why a stage failed, and whether a retry may succeed.

use nightshift_archive::PackError;
use nightshift_core::set_path::MAX_ATTEMPTS;
use nightshift_core::{chain, units};
use nightshift_etcd::discover::DiscoverError;
use nightshift_etcd::error::ClientError;
use nightshift_etcd::health::Problem;
use nightshift_etcd::snapshot::SnapshotError;
use nightshift_peers::{CredentialsError, FetchError, ReachError};
use nightshift_ssh::{IdentityError, SftpError, SignatureError};
use nightshift_store::StoreError;
use nightshift_store::space::{self, SpaceError};

use super::queue::Polled;
use crate::cold_copy::request::RequestError;
use crate::collect::CollectError;
use crate::context::StageEnd;

#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no space for {what}")]
    Space { what: &'static str, source: SpaceError },
    #[error("{MAX_ATTEMPTS} attempts at tonight's set were made already")]
    TooManyAttempts,
    #[error(
        "tonight's set has too many files: its manifest has {}, and other hosts accept {}; list fewer files in [files]",
        units::bytes(*.bytes),
        units::bytes(*.max)
    )]
    LongManifest { bytes: u64, max: u64 },
    #[error("cannot encode the manifest")]
    Manifest(#[from] serde_json::Error),
    #[error(transparent)]
    Collect(#[from] CollectError),
    #[error("cannot sign: cannot use this host's SSH key")]
    Key(#[from] IdentityError),
    #[error("cannot sign")]
    Sign(#[from] SignatureError),
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A file that arrives from another host.
    #[error("cannot write {path}")]
    Write { path: String, source: std::io::Error },
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    #[error("cannot query the etcd member")]
    Client(#[from] ClientError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    ColdCopy(#[from] RequestError),
    #[error("the member at the etcd endpoint {0}")]
    NotOwn(Problem),
}

impl StageError {
    /// Whether this host has no space.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Space { .. } => true,
            Self::Fetch(error) => error.is_no_space(),
            Self::Write { source, .. }
            | Self::Store(StoreError::Io { source, .. })
            | Self::Collect(CollectError::Store(StoreError::Io { source, .. })) => space::is_no_space(source),
            _ => false,
        }
    }
}

impl From<SftpError> for StageError {
    fn from(error: SftpError) -> Self {
        Self::Reach(error.into())
    }
}

impl From<StageError> for StageEnd {
    fn from(error: StageError) -> Self {
        match error {
            // An operator may have moved the static pod's manifest away for a while, which stops the member.
            StageError::Discover(DiscoverError::NothingFound { .. }) => Self::failed(chain(&error)),
            StageError::Credentials(_)
            | StageError::Discover(_)
            | StageError::NotOwn(_)
            | StageError::LongManifest { .. } => Self::broken(chain(&error)),
            _ => Self::failed(chain(&error)),
        }
    }
}

impl<T> From<StageError> for Polled<T> {
    fn from(error: StageError) -> Self {
        let is_permanent = match &error {
            StageError::Reach(error) => error.is_permanent(),
            StageError::Fetch(error) => error.is_refusal(),
            _ => false,
        };
        if is_permanent { Self::GiveUp(chain(&error)) } else { Self::Retry(chain(&error)) }
    }
}
