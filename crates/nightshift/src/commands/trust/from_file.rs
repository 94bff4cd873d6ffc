//! `nightshift trust --known-hosts FILE`: pins the keys that another known_hosts file has for the hosts of the config.

use std::path::Path;

use nightshift_core::settings::Settings;
use nightshift_core::text::first_of;
use nightshift_core::units::count;
use nightshift_ssh::known_hosts::{Pin, pin_all};
use nightshift_ssh::{Endpoint, KnownHosts, OfferedKey};

use super::sorted::{self, Wanted, label, sort};
use crate::commands::CommandError;
use crate::exit::Exit;
use crate::out;

/// No host is contacted. A key that differs from a pinned one is refused, unless `is_replaced`.
pub fn pin(
    settings: &Settings,
    endpoints: &[Endpoint],
    file: &Path,
    is_replaced: bool,
) -> Result<Exit, CommandError> {
    let path = &settings.ssh.known_hosts;
    let (source, skipped) = KnownHosts::load_for(file, endpoints)?;
    if skipped > 0 {
        let lines = count(skipped, "invalid line");
        out::print_error(&format!("{}: skipped {lines} of other hosts", file.display()));
    }
    let known = if path.exists() { KnownHosts::load(path)? } else { KnownHosts::parse("")? };
    let mut pins = Vec::new();
    let mut hosts = 0;
    let (mut absent, mut refused) = (Vec::new(), 0);
    for endpoint in endpoints {
        let keys = source.plain_keys(endpoint.names(), endpoint.port);
        if keys.is_empty() {
            absent.push(endpoint.argument());
            continue;
        }
        let keys = keys.into_iter().map(OfferedKey::from).collect();
        let sorted = match sort(path, &known, endpoint, keys, &Wanted::Confirmed, is_replaced) {
            Ok(sorted) => sorted,
            Err(refusal) => {
                out::print_error(&refusal);
                refused += 1;
                continue;
            }
        };
        for key in &sorted.new {
            out::print(format!("{}: new key {} {}", label(endpoint), key.key_type, key.fingerprint));
        }
        hosts += usize::from(!sorted.new.is_empty());
        if is_replaced && !sorted.new.is_empty() {
            sorted::replace(path, endpoint, &sorted)?;
        } else {
            pins.extend(sorted.new.into_iter().map(|key| Pin {
                name: label(endpoint),
                port: endpoint.port,
                key: key.key,
            }));
        }
    }
    if !pins.is_empty() {
        pin_all(path, &pins)?;
    }
    out::print(format!("{} of {} newly pinned in {}", hosts, count(endpoints.len(), "host"), path.display()));
    if !absent.is_empty() {
        out::print_error(&format!(
            "{} has no key for: {}; compare and pin these with `nightshift trust HOST`",
            file.display(),
            first_of(&absent, ", ")
        ));
    }
    Ok(match (refused, absent.is_empty()) {
        (0, true) => Exit::Good,
        (0, false) => Exit::Degraded,
        _ => Exit::Failed,
    })
}
