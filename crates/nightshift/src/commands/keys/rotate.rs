//! `nightshift keys rotate`: a new key beside the old one, which replaces it once every host lets it in.

use std::sync::Arc;

use nightshift_core::inventory::Host;
use nightshift_core::name::RemoteName;
use nightshift_core::settings::Settings;
use nightshift_peers::{Credentials, endpoint, remote_endpoint};
use nightshift_ssh::{Endpoint, Identity, identity};
use nightshift_store::beside;

use super::authorize::{find_remote, print_agentless_line, print_peer_line, print_remote_line};
use crate::commands::CommandError;
use crate::exit::Exit;
use crate::{out, report};

/// Creates the new key, or, if it exists already, replaces the old one by it after a test login on every host.
pub async fn rotate(settings: &Settings, remote: Option<&RemoteName>) -> Result<Exit, CommandError> {
    let remote = remote.map(|name| find_remote(settings, name)).transpose()?;
    let old = remote.map_or(&settings.ssh.identity, |remote| &remote.identity);
    let replaced = Identity::load(old)?;
    let new = beside(old, "new");
    if !new.exists() {
        let comment = replaced.public_line().split(' ').nth(2).unwrap_or_default().to_owned();
        let created = Identity::generate_ed25519(&new, &comment)?;
        out::print(format!("{}: created, {}", new.display(), created.fingerprint()));
        match remote {
            Some(remote) => print_remote_line(remote, &created),
            None => print_peer_lines(settings, &created),
        }
        out::print("next: add the lines beside those of the old key, then run this command again");
        return Ok(Exit::Good);
    }
    let created = Identity::load(&new)?;
    let endpoints: Vec<Endpoint> = match remote {
        Some(remote) => vec![remote_endpoint(remote)],
        None => peers(settings).map(endpoint).collect(),
    };
    let refused = test_logins(settings, &created, &endpoints).await?;
    if refused > 0 {
        out::print_error(&format!(
            "the old key stays in use: {refused} of {} hosts did not let the new one in; add its line there, or set `expected = \
             false` for a host that is down, and run this command again",
            endpoints.len()
        ));
        return Ok(Exit::Degraded);
    }
    identity::replace(old, &new, &beside(old, "old"))?;
    out::print(format!("{}: replaced, now {}", old.display(), created.fingerprint()));
    out::print("stages that start from now on use it; remove the line of the old key everywhere:");
    out::print(replaced.public_line());
    Ok(Exit::Good)
}

fn print_peer_lines(settings: &Settings, identity: &Identity) {
    if peers(settings).any(|host| !host.agentless) {
        print_peer_line(identity);
    }
    if peers(settings).any(|host| host.agentless) {
        print_agentless_line(identity);
    }
}

/// Logs in on every host with this key; returns how many did not let it in.
async fn test_logins(
    settings: &Settings,
    identity: &Identity,
    endpoints: &[Endpoint],
) -> Result<usize, CommandError> {
    let credentials = Credentials::of_peers(settings).await?;
    let credentials = Credentials { identity: Arc::new(identity.clone()), ..credentials };
    let mut refused = 0;
    for endpoint in endpoints {
        let name = endpoint.names().first().unwrap_or(&endpoint.address);
        match credentials.open_sftp(endpoint).await {
            Ok((session, _)) => {
                session.close().await;
                out::print(format!("{name}: the new key works"));
            }
            Err(error) => {
                refused += 1;
                out::print_error(&report::in_full(&error));
            }
        }
    }
    Ok(refused)
}

/// The other hosts that are expected to let this master in.
fn peers(settings: &Settings) -> impl Iterator<Item = &Host> {
    settings.inventory.hosts().filter(|host| host.name != settings.this && host.expected)
}
