//! Why a command fails.

use std::io;
use std::path::PathBuf;

use nightshift_engine::cold_copy::{RecoverError, ServeError};
use nightshift_engine::control::ClientError;
use nightshift_engine::daemon::DaemonError;
use nightshift_etcd::DiscoverError;
use nightshift_etcd::service::ServiceError;
use nightshift_etcd::trial::{FollowError, ScratchError};
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
    #[error("{} cannot be opened", path.display())]
    Unopened { path: PathBuf, source: nightshift_archive::IdentityError },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the runtime cannot start")]
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
    #[error("{host}: its host keys cannot be read")]
    Scan { host: String, source: ConnectError },
    #[error("{} is no archive that may be used", path.display())]
    Archive { path: PathBuf, source: nightshift_archive::ListError },
    #[error("the manifest in {} cannot be used", folder.display())]
    Manifest { folder: PathBuf, source: nightshift_core::manifest::ManifestError },
    #[error("{what} cannot be unpacked into {}; --scratch names another folder", scratch.display())]
    UnpackInto { what: String, scratch: PathBuf, source: nightshift_store::spool::SpoolError },
    #[error("{what} cannot be unpacked")]
    Unpack { what: String, source: nightshift_store::spool::SpoolError },
    #[error("{what} cannot be read")]
    Snapshot { what: String, source: nightshift_snapshot::ReadError },
    #[error("the keys of {what} cannot be listed")]
    Index { what: String, source: nightshift_snapshot::IndexError },
    #[error("{0}")]
    Absent(String),
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    #[error("cannot print it as YAML")]
    Yaml(#[from] serde_saphyr::SerializeError),
    #[error("standard input is no connection of the cold copy's socket")]
    NoConnection(#[source] io::Error),
    #[error(transparent)]
    Member(#[from] DiscoverError),
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Recover(#[from] RecoverError),
    #[error("cannot print it as JSON")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Usage(String),
    #[error("the drill's process cannot go on")]
    Worker(#[source] io::Error),
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(transparent)]
    Scratch(#[from] ScratchError),
}
