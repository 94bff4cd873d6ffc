//! Every peer, every remote and the local etcd member: reached, logged in, asked for space.

use futures_util::StreamExt as _;
use futures_util::stream;
use nightshift_core::inventory::Host;
use nightshift_core::role::Role;
use nightshift_core::settings::{Remote, Settings};
use nightshift_core::units::bytes;
use nightshift_peers as peers;
use nightshift_peers::Credentials;

use super::line::tell;
use super::{etcd, etcd_data};
use crate::report;

/// Connections at a time.
const PARALLEL: usize = 16;

/// Prints a line for each; true where all went well.
pub async fn run(settings: &Settings) -> bool {
    let mut good = true;
    if settings.roles().has(Role::Etcd) {
        good &= etcd::check(settings).await;
        good &= etcd_data::tell(settings).await;
    }
    if !settings.roles().has(Role::Master) {
        return good;
    }
    match Credentials::of_peers(settings).await {
        Ok(credentials) => {
            let peers = settings.inventory.hosts().filter(|host| host.name != settings.this && host.expected);
            let mut checks = stream::iter(peers)
                .map(|host| async { (host.name.to_string(), check_peer(host, &credentials).await) })
                .buffered(PARALLEL);
            while let Some((name, result)) = checks.next().await {
                good &= tell(&name, result);
            }
        }
        Err(error) => good &= tell("peers", Err(report::in_full(&error))),
    }
    for remote in &settings.remotes {
        good &= tell(&format!("remote {}", remote.name), check_remote(settings, remote).await);
    }
    good
}

async fn check_peer(host: &Host, credentials: &Credentials) -> Result<String, String> {
    let opened = credentials.open_sftp(&peers::endpoint(host)).await;
    let (session, sftp) = opened.map_err(|error| report::in_full(&error))?;
    let folder = if host.agentless { "/etc".to_owned() } else { host.vault.display().to_string() };
    let found = sftp.stat(&folder).await.map_err(|error| report::in_full(&error));
    session.close().await;
    found.map(|_| format!("host key pinned, login taken, {folder} readable"))
}

async fn check_remote(settings: &Settings, remote: &Remote) -> Result<String, String> {
    let credentials =
        Credentials::of_remote(settings, remote).await.map_err(|error| report::in_full(&error))?;
    let opened = credentials.open_sftp(&peers::remote_endpoint(remote)).await;
    let (session, sftp) = opened.map_err(|error| report::in_full(&error))?;
    let space = sftp.space(&remote.path).await;
    let synced =
        if sftp.can_fsync() { "" } else { ", cannot fsync: a power cut there may take what it took" };
    session.close().await;
    match space {
        Ok(Some(space)) => {
            Ok(format!("host key pinned, login taken, {} free{synced}", bytes(space.free_bytes)))
        }
        Ok(None) => Ok(format!("host key pinned, login taken, cannot tell its space{synced}")),
        Err(error) => Err(report::in_full(&error)),
    }
}
