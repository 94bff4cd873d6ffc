//! The keys of a host, by what is pinned for it and by which ones are wanted.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use nightshift_core::units::count;
use nightshift_ssh::{Endpoint, HostKeyVerdict, KnownHosts, KnownHostsError, OfferedKey, known_hosts};

use crate::out;

/// Which new keys are pinned.
pub enum Wanted {
    /// Those that the operator confirms on the terminal.
    Confirmed,
    /// Those with one of these fingerprints.
    These(BTreeSet<String>),
}

impl Wanted {
    pub fn has(&self, key: &OfferedKey) -> bool {
        match self {
            Self::Confirmed => true,
            Self::These(fingerprints) => fingerprints.contains(&key.fingerprint),
        }
    }
}

/// The name of a host or the address of a remote.
pub fn label(endpoint: &Endpoint) -> String {
    endpoint.names().first().cloned().unwrap_or_else(|| endpoint.address.clone())
}

/// The keys of a host.
#[derive(Default)]
pub struct Sorted {
    pub pinned: Vec<OfferedKey>,
    /// Those that are wanted.
    pub new: Vec<OfferedKey>,
}

/// Sorts the keys that a host offers. An error if one is revoked, or a wanted one is not the pinned one and none is to be replaced. A key of
/// another type than the pinned ones contradicts none of them: it is named and, unless it is wanted by its fingerprint, not pinned.
pub fn sort(
    path: &Path,
    known: &KnownHosts,
    endpoint: &Endpoint,
    offered: Vec<OfferedKey>,
    wanted: &Wanted,
    replace: bool,
) -> Result<Sorted, String> {
    let name = label(endpoint);
    let mut sorted = Sorted::default();
    let pinned = known.plain_keys(endpoint.names(), endpoint.port);
    let is_of_pinned_type =
        |key: &OfferedKey| pinned.iter().any(|pinned| pinned.algorithm() == key.key.algorithm());
    let mut differs = None;
    for key in offered {
        let (key_type, fingerprint) = (&key.key_type, &key.fingerprint);
        match known.check(endpoint.names(), endpoint.port, &key.key) {
            HostKeyVerdict::Trusted => {
                out::print(format!("{name}: {key_type} {fingerprint} is already pinned"));
                sorted.pinned.push(key);
            }
            HostKeyVerdict::Revoked => {
                return Err(format!(
                    "{name}: {key_type} {fingerprint} is REVOKED in {}; do not log in there until the host has a new key",
                    path.display()
                ));
            }
            _ if !wanted.has(&key) => {}
            HostKeyVerdict::Changed { expected } if !replace => {
                let refusal = format!(
                    "{name}: {key_type} {fingerprint} is NOT the pinned key ({}); if the host was reinstalled or its keys changed, \
                     run `nightshift trust --replace {}`",
                    expected.join(", "),
                    endpoint.argument(),
                );
                match wanted {
                    _ if is_of_pinned_type(&key) => return Err(refusal),
                    Wanted::These(_) => sorted.new.push(key),
                    Wanted::Confirmed => {
                        out::print(format!(
                            "{name}: {key_type} {fingerprint} is of another type than the pinned key, and not pinned"
                        ));
                        differs = Some(refusal);
                    }
                }
            }
            HostKeyVerdict::Changed { .. } | HostKeyVerdict::Unknown => sorted.new.push(key),
        }
    }
    // Without the pinned key, this may be another host.
    differs.filter(|_| sorted.pinned.is_empty()).map_or(Ok(sorted), Err)
}

/// Pins these keys instead of what is pinned for the host, which is kept as former.
pub fn replace(
    path: &Path,
    endpoint: &Endpoint,
    Sorted { pinned, new }: &Sorted,
) -> Result<(), KnownHostsError> {
    let keys: Vec<_> = new.iter().chain(pinned).map(|key| &key.key).collect();
    let former = known_hosts::replace(path, endpoint.names(), endpoint.port, &keys, Timestamp::now())?;
    out::print(format!("{}: {} kept as former in {}", label(endpoint), count(former, "key"), path.display()));
    Ok(())
}
