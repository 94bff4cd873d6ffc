//! The errors of all commands.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use nightshift_engine::cold_copy::peer::PeerError;
use nightshift_engine::cold_copy::recover::RecoverError;
use nightshift_engine::cold_copy::serve::ServeError;
use nightshift_engine::control::ClientError;
use nightshift_engine::daemon::DaemonError;
use nightshift_etcd::discover::DiscoverError;
use nightshift_etcd::service::ServiceError;
use nightshift_etcd::trial::child::FollowError;
use nightshift_notify::SendError;
use nightshift_notify::command::ProgramError;
use nightshift_objects::api::ApiError;
use nightshift_objects::files::FileError;
use nightshift_objects::proxy::ProxyError;
use nightshift_objects::restore::ObjectError;
use nightshift_objects::source::SourceError;
use nightshift_peers::{CredentialsError, ReachError};
use nightshift_restore::error::RestoreError;
use nightshift_restore::target::TargetError;
use nightshift_ssh::{IdentityError, KnownHostsError};
use nightshift_store::StoreError;

type Source = Box<dyn Error + Send + Sync>;

/// The variants are those that have their own exit code or output; [`Failed`](CommandError::Failed) is for the others.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Invalid arguments; or the help or the version, where they ask for that.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    /// The diagnostics of an invalid config.
    #[error("{0}")]
    Config(String),
    #[error("cannot read the config {}", path.display())]
    ReadConfig { path: PathBuf, source: io::Error },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Neither a daemon answers, nor can the records be read in its place.
    #[error("{what}")]
    NoAnswer { what: String, source: StoreError },
    #[error(transparent)]
    Act(#[from] TargetError),
    #[error("{0}")]
    Absent(String),
    #[error("cannot write YAML")]
    Yaml(#[from] serde_saphyr::SerializeError),
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    #[error("{what}")]
    Failed { what: String, source: Source },
    #[error(transparent)]
    Other(Source),
}

/// Errors that already say what failed.
macro_rules! others {
    ($($error:ty),*) => { $(impl From<$error> for CommandError {
        fn from(error: $error) -> Self {
            Self::Other(Box::new(error))
        }
    })* };
}
others!(CredentialsError, ReachError, IdentityError, KnownHostsError, DiscoverError, ServiceError);
others!(ServeError, RecoverError, FollowError, PeerError, RestoreError);
others!(SendError, ProgramError);
others!(ApiError, FileError, ObjectError, ProxyError, SourceError);

impl CommandError {
    /// A command for systemd was run by hand; `test` is the one for that.
    pub fn no_request(test: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        Self::failed(format!("standard input is not a request of the daemon; {test}"))
    }

    /// Adds what failed to an error that does not say it.
    pub fn failed<E: Error + Send + Sync + 'static>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        |source| Self::Failed { what, source: Box::new(source) }
    }
}
