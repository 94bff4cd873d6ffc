//! `nightshift cold-copy`: started as root by systemd, for one connection of the socket, and after it.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nightshift_engine::cold_copy::{self, Host};
use nightshift_engine::logging;
use nightshift_etcd as etcd;
use nightshift_etcd::service::{self, Service};

use super::CommandError;
use crate::args::ColdCopy;
use crate::config_file;
use crate::exit::Exit;
use crate::report;

pub async fn run(config: &Path, command: ColdCopy) -> Result<Exit, CommandError> {
    logging::begin();
    match command {
        ColdCopy::Serve => serve(config).await?,
        ColdCopy::Recover => {
            cold_copy::recover::<Service>(Path::new(cold_copy::STATE)).await?;
        }
    }
    Ok(Exit::Good)
}

async fn serve(config: &Path) -> Result<(), CommandError> {
    let connection = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let connection = connection.map_err(CommandError::NoConnection)?;
    // Refuses a file or a terminal before anything else.
    connection.peer_addr().map_err(CommandError::NoConnection)?;
    match host(config).await {
        Ok(host) => Ok(cold_copy::serve(&host, connection).await?),
        Err(error) => {
            cold_copy::refuse(&connection, &report::in_full(&error));
            Err(error)
        }
    }
}

/// The settings and the member, read as root from this host's own files: a request does not contain them.
async fn host(config: &Path) -> Result<Host<Service>, CommandError> {
    let settings = config_file::settings(config)?;
    let local = etcd::discover(&settings.etcd, Path::new("/"))?;
    Ok(Host::new(&settings, local, service::find().await?, cold_copy::STATE))
}
