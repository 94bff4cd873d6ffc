//! `nightshift trust`: shows the keys that hosts offer, and pins them once somebody has compared them.

use std::path::Path;
use std::time::Duration;

use nightshift_core::settings::Settings;
use nightshift_peers as peers;
use nightshift_ssh::{Endpoint, HostKeyVerdict, KnownHosts, OfferedKey, known_hosts, scan};

use super::CommandError;
use crate::args::Trust;
use crate::config_file;
use crate::exit::Exit;
use crate::{out, report};

const PATIENCE: Duration = Duration::from_secs(15);

pub async fn run(config: &Path, args: &Trust) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let endpoints = match args.hosts.as_slice() {
        [] => everyone(&settings),
        hosts => hosts.iter().map(|host| find(&settings, host)).collect(),
    };
    let mut worst = Exit::Good;
    for endpoint in endpoints {
        match trust(&settings, &endpoint, args.fingerprint.as_deref()).await {
            Ok(Exit::Good) => {}
            Ok(exit) => worst = exit,
            // One host that is down is no reason not to pin the others.
            Err(error) => {
                out::complain(&format!("nightshift: {}", report::in_full(&error)));
                worst = Exit::Failed;
            }
        }
    }
    Ok(worst)
}

fn everyone(settings: &Settings) -> Vec<Endpoint> {
    let peers = settings.inventory.hosts().filter(|host| host.name != settings.this).map(peers::endpoint);
    peers.chain(settings.remotes.iter().map(peers::remote_endpoint)).collect()
}

/// A host of the inventory, a remote by its name, or an address with or without a port.
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
    let offered = scan(&endpoint.address, endpoint.port, PATIENCE)
        .await
        .map_err(|source| CommandError::Scan { host: name.clone(), source })?;
    let known = if path.exists() { KnownHosts::load(path)? } else { KnownHosts::parse("")? };
    let mut fresh: Vec<OfferedKey> = Vec::new();
    for key in offered {
        match known.check(endpoint.names(), endpoint.port, &key.key) {
            HostKeyVerdict::Trusted => {
                out::say(format!("{name}: {} {} is pinned already", key.key_type, key.fingerprint));
            }
            HostKeyVerdict::Revoked => {
                out::complain(&format!("{name}: {} {} is REVOKED", key.key_type, key.fingerprint));
                return Ok(Exit::Failed);
            }
            HostKeyVerdict::Changed { expected } => {
                out::complain(&format!(
                    "{name}: {} {} is NOT the pinned key ({}). If the host was reinstalled, remove its line from {} and run this again",
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
        out::complain(&format!("{name}: offers no new key with fingerprint {wanted}"));
        return Ok(Exit::Failed);
    }
    for key in &keys {
        out::say(format!("{name}: offers {} {}", key.key_type, key.fingerprint));
    }
    let sure =
        wanted.is_some() || out::confirm(&format!("Is that {name}, compared on the host itself? Pin it?"));
    if !sure {
        out::complain(&format!("{name}: nothing pinned"));
        return Ok(Exit::Failed);
    }
    for key in &keys {
        known_hosts::pin(path, &name, endpoint.port, &key.key)?;
    }
    out::say(format!("{name}: pinned in {}", path.display()));
    Ok(Exit::Good)
}
