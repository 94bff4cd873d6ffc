//! `nightshift trust`: shows the host keys of hosts, and pins them after the operator has compared them.

mod fingerprints;
mod from_file;
mod sorted;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use nightshift_core::address::host_and_port;
use nightshift_core::settings::{Remote, Settings};
use nightshift_core::text::first_of;
use nightshift_peers as peers;
use nightshift_ssh::{Endpoint, KnownHosts, known_hosts, scan};

use self::sorted::{Sorted, Wanted, label, sort};
use super::CommandError;
use crate::args::Trust;
use crate::exit::Exit;
use crate::{config_file, out, report};

const SCAN_TIMEOUT: Duration = Duration::from_secs(15);

pub async fn run(config: &Path, args: &Trust) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let endpoints = match args.hosts.as_slice() {
        [] => all_endpoints(&settings),
        hosts => hosts.iter().map(|host| find(&settings, host)).collect::<Result<_, _>>()?,
    };
    if let Some(file) = &args.known_hosts {
        return from_file::pin(&settings, &endpoints, file, args.replace);
    }
    let listed = args.fingerprints.as_deref().map(fingerprints::read).transpose()?;
    let mut worst = Exit::Good;
    let mut unlisted = Vec::new();
    for endpoint in endpoints {
        let wanted = match (&listed, &args.fingerprint) {
            (Some(listed), _) => match listed.of(&label(&endpoint)) {
                Some(wanted) => Wanted::These(wanted.clone()),
                None => {
                    unlisted.push(label(&endpoint));
                    continue;
                }
            },
            (None, Some(fingerprint)) => Wanted::These(BTreeSet::from([fingerprint.clone()])),
            (None, None) => Wanted::Confirmed,
        };
        match trust(&settings, &endpoint, &wanted, args.replace).await {
            Ok(Exit::Good) => {}
            Ok(exit) => worst = exit,
            // A host that is down must not prevent the pinning of the others.
            Err(error) => {
                out::print_error(&format!("nightshift: {}", report::in_full(&error)));
                worst = Exit::Failed;
            }
        }
    }
    if let (Some(file), false) = (&args.fingerprints, unlisted.is_empty()) {
        out::print_error(&format!(
            "{} has no line for: {}; add lines `host SHA256:…`, or run `nightshift trust HOST`",
            file.display(),
            first_of(&unlisted, ", ")
        ));
        worst = if worst == Exit::Good { Exit::Degraded } else { worst };
    }
    Ok(worst)
}

fn all_endpoints(settings: &Settings) -> Vec<Endpoint> {
    let peers = settings.inventory.hosts().filter(|host| host.name != settings.this).map(peers::endpoint);
    peers.chain(settings.remotes.iter().map(peers::remote_endpoint)).collect()
}

/// Finds a host of the inventory or a remote by its name; otherwise the argument is HOST or HOST:PORT.
fn find(settings: &Settings, word: &str) -> Result<Endpoint, CommandError> {
    if let Some(host) = word.parse().ok().and_then(|name| settings.inventory.get(&name)) {
        return Ok(peers::endpoint(host));
    }
    if let Some(remote) = settings.remotes.iter().find(|remote| remote.name.as_str() == word) {
        return Ok(peers::remote_endpoint(remote));
    }
    let (address, port) = address_and_port(word)?;
    let port = port.map_or_else(|| port_at(&settings.remotes, &address), Ok)?;
    let known_as = vec![address.clone()];
    Ok(Endpoint { address, port, user: String::new(), known_as })
}

/// A mistyped port must not lead to the key of another service.
fn address_and_port(word: &str) -> Result<(String, Option<u16>), CommandError> {
    let is_bare_ipv6 = !word.starts_with('[') && word.matches(':').count() > 1;
    let read = if is_bare_ipv6 { Some((word.to_owned(), None)) } else { host_and_port(word) };
    read.ok_or_else(|| {
        CommandError::Usage(format!(
            "{word}: invalid host or port; expected HOST, HOST:PORT or [IPV6]:PORT, such as host:2222"
        ))
    })
}

/// Without a port, the address of a remote means its SSH server: another one there may have another key, which would then be pinned for
/// both.
fn port_at(remotes: &[Remote], address: &str) -> Result<u16, CommandError> {
    let there = remotes.iter().filter(|remote| remote.address.eq_ignore_ascii_case(address));
    let ports: BTreeSet<u16> = there.clone().map(|remote| remote.port).collect();
    match ports.first() {
        None => Ok(22),
        Some(port) if ports.len() == 1 => Ok(*port),
        Some(_) => {
            let names: Vec<&str> = there.map(|remote| remote.name.as_str()).collect();
            Err(CommandError::Usage(format!(
                "{address}: remotes with different ports are there; give the name of one: {}",
                names.join(", ")
            )))
        }
    }
}

async fn trust(
    settings: &Settings,
    endpoint: &Endpoint,
    wanted: &Wanted,
    replace: bool,
) -> Result<Exit, CommandError> {
    let path = &settings.ssh.known_hosts;
    let name = label(endpoint);
    let offered = scan(&endpoint.address, endpoint.port, SCAN_TIMEOUT)
        .await
        .map_err(CommandError::failed(format!("{name}: cannot query its host keys")))?;
    let known = if path.exists() { KnownHosts::load(path)? } else { KnownHosts::parse("")? };
    let sorted = match sort(path, &known, endpoint, offered, wanted, replace) {
        Ok(sorted) => sorted,
        Err(refusal) => {
            out::print_error(&refusal);
            return Ok(Exit::Failed);
        }
    };
    let Sorted { pinned, new } = &sorted;
    if new.is_empty() {
        let Wanted::These(fingerprints) = wanted else { return Ok(Exit::Good) };
        if pinned.iter().any(|key| wanted.has(key)) {
            return Ok(Exit::Good);
        }
        let fingerprints = fingerprints.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        out::print_error(&format!(
            "{name}: none of its new keys has the fingerprint {fingerprints}; nothing pinned"
        ));
        return Ok(Exit::Failed);
    }
    for key in new {
        out::print(format!("{name}: new key {} {}", key.key_type, key.fingerprint));
    }
    if matches!(wanted, Wanted::Confirmed) && !confirmed(&name, replace) {
        return Ok(Exit::Failed);
    }
    if replace {
        sorted::replace(path, endpoint, &sorted)?;
    } else {
        for key in new {
            known_hosts::pin(path, &name, endpoint.port, &key.key)?;
        }
    }
    out::print(format!("{name}: pinned in {}", path.display()));
    Ok(Exit::Good)
}

fn confirmed(name: &str, replace: bool) -> bool {
    if !out::can_confirm() {
        out::print_error(&format!(
            "{name}: nothing pinned; confirming a key needs a terminal: run it in one, or use --fingerprint SHA256:…"
        ));
        return false;
    }
    let pin = if replace { "Pin it instead of the pinned ones?" } else { "Pin it?" };
    let confirmed =
        out::confirm(&format!("{name}: does this match the fingerprint shown on the host itself? {pin}"));
    if !confirmed {
        out::print_error(&format!("{name}: nothing pinned; answer y, or use --fingerprint"));
    }
    confirmed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::fixtures;

    use super::*;

    #[test]
    fn a_port_that_is_mistyped_is_an_error() {
        for (word, address, port) in [
            ("host:2222", "host", Some(2222)),
            ("host", "host", None),
            ("fd00::1", "fd00::1", None),
            ("[fd00::1]", "fd00::1", None),
            ("[fd00::1]:2222", "fd00::1", Some(2222)),
        ] {
            assert_eq!(address_and_port(word).unwrap(), (address.to_owned(), port));
        }
        for bad in ["2222x", "", "0", "65536", "-1", "ssh"] {
            for host in ["host", "[fd00::1]"] {
                let word = format!("{host}:{bad}");
                assert!(matches!(address_and_port(&word), Err(CommandError::Usage(_))), "{word}");
            }
        }
    }

    #[test]
    fn the_address_of_a_remote_means_its_port_and_is_not_enough_where_there_are_several() {
        let remotes = [("one", "B.example.com", 2222), ("two", "c", 1), ("three", "c", 2)]
            .map(|(name, address, port)| fixtures::remote(name, address, port, "/in"));
        assert_eq!(port_at(&remotes, "b.example.com").unwrap(), 2222);
        assert_eq!(port_at(&remotes, "elsewhere").unwrap(), 22);
        let refused = port_at(&remotes, "c").unwrap_err().to_string();
        assert!(refused.contains("two, three"), "{refused}");
    }
}
