//! The errors of all commands.

use std::io;
use std::path::PathBuf;

use nightshift_engine::cold_copy::recover::RecoverError;
use nightshift_engine::cold_copy::serve::ServeError;
use nightshift_engine::control::ClientError;
use nightshift_engine::daemon::DaemonError;
use nightshift_etcd::discover::DiscoverError;
use nightshift_etcd::service::ServiceError;
use nightshift_etcd::trial::child::FollowError;
use nightshift_etcd::trial::scratch::ScratchError;
use nightshift_peers::CredentialsError;
use nightshift_ssh::{ConnectError, IdentityError, KnownHostsError};
use nightshift_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("{0}")]
    Config(String),
    #[error("cannot read the config {}", path.display())]
    ReadConfig { path: PathBuf, source: io::Error },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot decrypt {}", path.display())]
    Undecrypted { path: PathBuf, source: nightshift_archive::IdentityError },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot start the async runtime")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    KnownHosts(#[from] KnownHostsError),
    #[error("{host}: cannot query its host keys")]
    Scan { host: String, source: ConnectError },
    #[error("{} is not a valid archive", path.display())]
    Archive { path: PathBuf, source: nightshift_archive::ListError },
    #[error("invalid manifest in {}", directory.display())]
    Manifest { directory: PathBuf, source: nightshift_core::manifest::ManifestError },
    #[error("cannot unpack {what} into {}; choose another directory with --scratch", scratch.display())]
    UnpackInto { what: String, scratch: PathBuf, source: nightshift_store::spool::SpoolError },
    #[error("cannot unpack {what}")]
    Unpack { what: String, source: nightshift_store::spool::SpoolError },
    #[error("cannot read {what}")]
    Snapshot { what: String, source: nightshift_snapshot::ReadError },
    #[error("cannot list the keys of {what}")]
    Index { what: String, source: nightshift_snapshot::IndexError },
    #[error("{0}")]
    Absent(String),
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    #[error("cannot write YAML")]
    Yaml(#[from] serde_saphyr::SerializeError),
    #[error(
        "standard input is not a connection of nightshift-cold-copy.socket; do not start this command by hand"
    )]
    NoConnection(#[source] io::Error),
    #[error(transparent)]
    Member(#[from] DiscoverError),
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Recover(#[from] RecoverError),
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Usage(String),
    #[error("the drill's process cannot read its job or write its report")]
    Worker(#[source] io::Error),
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(transparent)]
    Scratch(#[from] ScratchError),
}
