//! Connects to every peer and every remote, logs in, and queries the local etcd member.

use futures_util::{StreamExt as _, stream};
use nightshift_core::archive::ArchiveName;
use nightshift_core::inventory::Host;
use nightshift_core::role::Role;
use nightshift_core::settings::{Remote, Settings};
use nightshift_core::units::bytes;
use nightshift_peers as peers;
use nightshift_peers::Credentials;

use super::line::print_result;
use super::{etcd, etcd_data};
use crate::report;

const MAX_CONNECTIONS: usize = 16;

/// Prints a line for each; true if all are OK.
pub async fn run(settings: &Settings) -> bool {
    let mut good = true;
    if settings.roles().has(Role::Etcd) {
        good &= etcd::check(settings).await;
        good &= etcd_data::check(settings).await;
    }
    if !settings.roles().has(Role::Master) {
        return good;
    }
    match Credentials::of_peers(settings).await {
        Ok(credentials) => {
            let peers = settings.inventory.hosts().filter(|host| host.name != settings.this && host.expected);
            let mut checks = stream::iter(peers)
                .map(|host| async { (host.name.to_string(), check_peer(host, &credentials).await) })
                .buffered(MAX_CONNECTIONS);
            while let Some((name, result)) = checks.next().await {
                good &= print_result(&name, result);
            }
        }
        Err(error) => good &= print_result("peers", Err(report::in_full(&error))),
    }
    for remote in &settings.remotes {
        good &= print_result(&format!("remote {}", remote.name), check_remote(settings, remote).await);
    }
    good
}

async fn check_peer(host: &Host, credentials: &Credentials) -> Result<String, String> {
    let opened = credentials.open_sftp(&peers::endpoint(host)).await;
    let (session, sftp) = opened.map_err(|error| report::in_full(&error))?;
    let directory = if host.agentless { "/etc".to_owned() } else { host.vault.display().to_string() };
    let found = sftp.stat(&directory).await.map_err(|error| report::in_full(&error));
    session.close().await;
    found.map(|_| format!("host key matches, login works, {directory} readable"))
}

async fn check_remote(settings: &Settings, remote: &Remote) -> Result<String, String> {
    let credentials =
        Credentials::of_remote(settings, remote).await.map_err(|error| report::in_full(&error))?;
    let opened = credentials.open_sftp(&peers::remote_endpoint(remote)).await;
    let (session, sftp) = opened.map_err(|error| report::in_full(&error))?;
    let space = sftp.space(&remote.path).await;
    let fsync = if sftp.can_fsync() {
        ""
    } else {
        ", its server has no fsync (a power failure there can lose an uploaded archive)"
    };
    session.close().await;
    match space {
        Ok(Some(space)) => {
            let longest = longest_name(settings);
            match space.max_name {
                Some(max) if max < longest.len() as u64 => {
                    Err(format!("its file system allows names of {max} bytes, and {longest} is longer"))
                }
                _ => Ok(format!("host key matches, login works, {} free{fsync}", bytes(space.free))),
            }
        }
        Ok(None) => Ok(format!("host key matches, login works, free space unknown{fsync}")),
        Err(error) => Err(report::in_full(&error)),
    }
}

/// The longest name that this host's archives need on a remote.
fn longest_name(settings: &Settings) -> String {
    let archive = &settings.archive;
    let encrypted = !archive.recipients.is_empty();
    format!("{}.sha256", ArchiveName::longest(settings.this.clone(), archive.compression, encrypted))
}
