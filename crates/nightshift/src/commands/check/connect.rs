//! Connects to every peer and every remote, logs in, and queries the local etcd member.

use std::path::PathBuf;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use nightshift_core::archive::ArchiveName;
use nightshift_core::hint::{self, Hint};
use nightshift_core::inventory::Host;
use nightshift_core::role::Role;
use nightshift_core::settings::{Remote, Settings};
use nightshift_core::units::bytes;
use nightshift_engine::hint_file;
use nightshift_peers as peers;
use nightshift_peers::Credentials;
use nightshift_store::outbox::Outbox;

use super::line::print_result;
use super::{etcd, etcd_data};
use crate::{out, report};

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
    let is_peer = |host: &&Host| host.name != settings.this && host.expected;
    match Credentials::of_peers(settings).await {
        // It needs neither keys nor pins for others.
        _ if !settings.inventory.hosts().any(|host| is_peer(&host)) => {}
        Ok(credentials) => {
            let peers = settings.inventory.hosts().filter(is_peer);
            let own = hint_file::basics(settings);
            let mut checks = stream::iter(peers)
                .map(|host| async { (&host.name, check_peer(host, &own, &credentials).await) })
                .buffered(MAX_CONNECTIONS);
            while let Some((name, checked)) = checks.next().await {
                let (result, odd) =
                    checked.map_or_else(|fault| (Err(fault), Vec::new()), |(ok, odd)| (Ok(ok), odd));
                good &= print_result(name.as_str(), result);
                odd.iter().for_each(|odd| out::print_error(&format!("warning: {name}: {odd}")));
            }
        }
        Err(error) => good &= print_result("peers", Err(report::in_full(&error))),
    }
    for remote in &settings.remotes {
        good &= print_result(&format!("remote {}", remote.name), check_remote(settings, remote).await);
    }
    good
}

/// What works, and what is odd about the peer: its clock, or settings that differ from this host's.
async fn check_peer(
    host: &Host,
    own: &Hint,
    credentials: &Credentials,
) -> Result<(String, Vec<String>), String> {
    let opened = credentials.open_sftp(&peers::endpoint(host)).await;
    let (session, sftp) = opened.map_err(|error| report::in_full(&error))?;
    let directory = if host.agentless { "/etc".to_owned() } else { host.vault.display().to_string() };
    let found = sftp.stat(&directory).await.map_err(|error| report::in_full(&error));
    let hint = format!("{directory}/{}/{}", host.name, hint::FILE);
    // A host whose daemon never ran has none.
    let hint =
        sftp.read_small(&hint, hint::MAX_BYTES as usize).await.ok().and_then(|bytes| Hint::decode(&bytes));
    session.close().await;
    let odd = hint.filter(|_| !host.agentless).map(|hint| hint.oddities(own, Timestamp::now()));
    found.map(|_| (format!("host key matches, login works, {directory} readable"), odd.unwrap_or_default()))
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
                _ => match need(settings) {
                    Some(need) if space.free < need => Err(format!(
                        "{} free, but the archives of one night may need {} (the newest one here, from each master)",
                        bytes(space.free),
                        bytes(need)
                    )),
                    _ => Ok(format!("host key matches, login works, {} free{fsync}", bytes(space.free))),
                },
            }
        }
        Ok(None) => Ok(format!("host key matches, login works, free space unknown{fsync}")),
        Err(error) => Err(report::in_full(&error)),
    }
}

/// The bytes that the masters' archives of one night need on a remote, if all are as large as the newest one here.
fn need(settings: &Settings) -> Option<u64> {
    let newest = |directory: PathBuf| {
        let outbox = Outbox::new(directory);
        let archive = outbox.archives().ok()?.pop()?;
        let bytes = std::fs::metadata(outbox.path(&archive)).ok()?.len();
        Some(((archive.date, archive.extra, archive.edition), bytes))
    };
    let paths = &settings.paths;
    let (_, bytes) = newest(paths.outbox()).into_iter().chain(newest(paths.sent())).max()?;
    Some(bytes.saturating_mul(settings.inventory.with_role(Role::Master).count() as u64))
}

/// The longest name that this host's archives need on a remote.
fn longest_name(settings: &Settings) -> String {
    let archive = &settings.archive;
    let encrypted = !archive.recipients.is_empty();
    format!("{}.sha256", ArchiveName::longest(settings.this.clone(), archive.compression, encrypted))
}
