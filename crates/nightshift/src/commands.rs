//! The commands, one file each.

mod archive_file;
mod check;
mod cold_copy;
mod daemon;
mod drill;
mod drill_worker;
mod generate;
mod inspect;
mod keys;
mod nights;
mod plan;
mod reload;
mod run;
mod sets;
mod status;
mod trust;
mod verify;

use std::io;
use std::path::PathBuf;

use nightshift_engine::cold_copy::{RecoverError, ServeError};
use nightshift_engine::control::ClientError;
use nightshift_engine::daemon::DaemonError;
use nightshift_etcd::DiscoverError;
use nightshift_etcd::service::ServiceError;
use nightshift_etcd::trial::{FollowError, ScratchError, become_program, sweep};
use nightshift_peers::CredentialsError;
use nightshift_ssh::{ConnectError, IdentityError, KnownHostsError};
use nightshift_store::StoreError;

use crate::args::{Cli, Command, Sets};
use crate::exit::Exit;

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

pub fn run(cli: Cli) -> Result<Exit, CommandError> {
    let config = cli.config;
    match cli.command {
        Command::Daemon => daemon::run(config),
        Command::Check(args) => here(check::run(&config, &args)),
        Command::Plan { night, json } => plan::run(&config, night, json),
        Command::Status { json } => here(status::run(&config, json)),
        Command::Run(args) => here(run::run(&config, args)),
        Command::Reload => here(reload::run(&config)),
        Command::Nights { night, json } => nights::run(&config, night, json),
        Command::Sets { command: Some(Sets::Accept { set, yes }), .. } => {
            here(sets::accept(&config, set, yes))
        }
        Command::Sets { command: None, json } => sets::run(&config, json),
        Command::Verify { what, identity } => verify::run(&config, &what, identity.as_deref()),
        Command::Drill(args) => drill::run(&config, &args),
        Command::DrillWorker { parent } => drill_worker::run(parent),
        Command::DrillEtcd { parent, program } => Err(become_program(parent, &program).into()),
        Command::DrillSweep { scratch } => Ok(sweep(&scratch).map(|()| Exit::Good)?),
        Command::Inspect(args) => inspect::run(&config, args),
        Command::Keys(keys) => keys::run(&config, keys),
        Command::Trust(args) => here(trust::run(&config, &args)),
        Command::ColdCopy(words) => here(cold_copy::run(&config, words)),
        Command::Generate { folder } => generate::run(&folder),
    }
}

/// Runs a short command on this thread.
fn here<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?
        .block_on(work)
}
