//! `nightshift trust`: shows the host keys of hosts, and pins them after the operator has compared them.

use std::path::Path;
use std::time::Duration;

use nightshift_core::settings::Settings;
use nightshift_peers as peers;
use nightshift_ssh::{Endpoint, HostKeyVerdict, KnownHosts, OfferedKey, known_hosts, scan};

use super::CommandError;
use crate::args::Trust;
use crate::exit::Exit;
use crate::{config_file, out, report};

const SCAN_TIMEOUT: Duration = Duration::from_secs(15);

pub async fn run(config: &Path, args: &Trust) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let endpoints = match args.hosts.as_slice() {
        [] => all_endpoints(&settings),
        hosts => hosts.iter().map(|host| find(&settings, host)).collect(),
    };
    let mut worst = Exit::Good;
    for endpoint in endpoints {
        match trust(&settings, &endpoint, args.fingerprint.as_deref()).await {
            Ok(Exit::Good) => {}
            Ok(exit) => worst = exit,
            // A host that is down must not prevent the pinning of the others.
            Err(error) => {
                out::print_error(&format!("nightshift: {}", report::in_full(&error)));
                worst = Exit::Failed;
            }
        }
    }
    Ok(worst)
}

fn all_endpoints(settings: &Settings) -> Vec<Endpoint> {
    let peers = settings.inventory.hosts().filter(|host| host.name != settings.this).map(peers::endpoint);
    peers.chain(settings.remotes.iter().map(peers::remote_endpoint)).collect()
}

/// Finds a host of the inventory or a remote by its name; otherwise the argument is HOST or HOST:PORT.
fn find(settings: &Settings, word: &str) -> Endpoint {
    if let Some(host) = word.parse().ok().and_then(|name| settings.inventory.get(&name)) {
        return peers::endpoint(host);
    }
    if let Some(remote) = settings.remotes.iter().find(|remote| remote.name.as_str() == word) {
        return peers::remote_endpoint(remote);
    }
    let (address, port) = match word.rsplit_once(':') {
        Some((address, port)) if !address.contains(':') => (address, port.parse().unwrap_or(22)),
        _ => (word, 22),
    };
    Endpoint { address: address.to_owned(), port, user: String::new(), known_as: vec![address.to_owned()] }
}

async fn trust(settings: &Settings, endpoint: &Endpoint, wanted: Option<&str>) -> Result<Exit, CommandError> {
    let path = &settings.ssh.known_hosts;
    let name = endpoint.names().first().cloned().unwrap_or_else(|| endpoint.address.clone());
    let offered = scan(&endpoint.address, endpoint.port, SCAN_TIMEOUT)
        .await
        .map_err(CommandError::failed(format!("{name}: cannot query its host keys")))?;
    let known = if path.exists() { KnownHosts::load(path)? } else { KnownHosts::parse("")? };
    let mut fresh: Vec<OfferedKey> = Vec::new();
    for key in offered {
        match known.check(endpoint.names(), endpoint.port, &key.key) {
            HostKeyVerdict::Trusted => {
                out::print(format!("{name}: {} {} is already pinned", key.key_type, key.fingerprint));
            }
            HostKeyVerdict::Revoked => {
                out::print_error(&format!(
                    "{name}: {} {} is REVOKED in {}; do not log in there until the host has a new key",
                    key.key_type,
                    key.fingerprint,
                    path.display()
                ));
                return Ok(Exit::Failed);
            }
            HostKeyVerdict::Changed { expected } => {
                out::print_error(&format!(
                    "{name}: {} {} is NOT the pinned key ({}); if the host was reinstalled, remove its line from {} and run this command again",
                    key.key_type,
                    key.fingerprint,
                    expected.join(", "),
                    path.display()
                ));
                return Ok(Exit::Failed);
            }
            HostKeyVerdict::Unknown => fresh.push(key),
        }
    }
    let keys: Vec<OfferedKey> =
        fresh.into_iter().filter(|key| wanted.is_none_or(|wanted| key.fingerprint == wanted)).collect();
    if keys.is_empty() {
        let Some(wanted) = wanted else { return Ok(Exit::Good) };
        out::print_error(&format!(
            "{name}: none of its new keys has the fingerprint {wanted}; nothing pinned"
        ));
        return Ok(Exit::Failed);
    }
    for key in &keys {
        out::print(format!("{name}: new key {} {}", key.key_type, key.fingerprint));
    }
    let question = format!("{name}: does this match the fingerprint shown on the host itself? Pin it?");
    let confirmed = wanted.is_some() || out::confirm(&question);
    if !confirmed {
        out::print_error(&format!("{name}: nothing pinned; answer y, or use --fingerprint"));
        return Ok(Exit::Failed);
    }
    for key in &keys {
        known_hosts::pin(path, &name, endpoint.port, &key.key)?;
    }
    out::print(format!("{name}: pinned in {}", path.display()));
    Ok(Exit::Good)
}
