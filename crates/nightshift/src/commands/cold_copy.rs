//! `nightshift cold-copy`: started as root by systemd, for one connection of the socket, and after it.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nightshift_engine::cold_copy::peer::require_daemon;
use nightshift_engine::cold_copy::recover::recover;
use nightshift_engine::cold_copy::serve::{refuse, serve};
use nightshift_engine::cold_copy::{Host, STATE};
use nightshift_engine::logging;
use nightshift_etcd::discover::discover;
use nightshift_etcd::service::{self, Service};

use super::CommandError;
use crate::args::ColdCopy;
use crate::exit::Exit;
use crate::{config_file, report};

pub async fn run(config: &Path, command: ColdCopy) -> Result<Exit, CommandError> {
    logging::begin();
    match command {
        ColdCopy::Serve => serve_connection(config).await?,
        ColdCopy::Recover => {
            recover::<Service>(Path::new(STATE)).await?;
        }
    }
    Ok(Exit::Good)
}

async fn serve_connection(config: &Path) -> Result<(), CommandError> {
    const PROBLEM: &str = "standard input is not a connection of nightshift-cold-copy.socket; do not start this command by hand";
    let failed = |error: io::Error| CommandError::failed(PROBLEM)(error);
    let connection = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let connection = connection.map_err(failed)?;
    // Refuses a file or a terminal before anything else.
    connection.peer_addr().map_err(failed)?;
    if let Err(error) = require_daemon(&connection) {
        refuse(&connection, &report::in_full(&error));
        return Err(error.into());
    }
    match host(config).await {
        Ok(host) => Ok(serve(&host, connection).await?),
        Err(error) => {
            refuse(&connection, &report::in_full(&error));
            Err(error)
        }
    }
}

/// The settings and the member, read as root from this host's own files: a request does not contain them.
async fn host(config: &Path) -> Result<Host<Service>, CommandError> {
    let settings = config_file::settings(config)?;
    let local = discover(&settings.etcd, Path::new("/"))?;
    Ok(Host::new(&settings, local, service::find().await?, STATE))
}
