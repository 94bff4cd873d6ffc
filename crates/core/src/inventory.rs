//! The hosts of the cluster, and which of them is this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::name::HostName;
use crate::role::{Role, Roles};

/// The maximum number of hosts in one group: four times what Kubernetes supports.
pub const MAX_HOSTS: usize = 20_000;

/// One host of the inventory, with its settings from `[host.X]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub name: HostName,
    pub roles: Roles,
    /// Where to connect to; its name by default.
    pub address: String,
    pub port: u16,
    /// The login there; `[ssh] user` by default.
    pub user: String,
    /// No daemon runs there: masters read its files themselves over SFTP.
    pub agentless: bool,
    /// False while it is under maintenance: its sets are not expected, and no host waits for them.
    pub expected: bool,
    /// The path of its vault, as seen over SFTP.
    pub vault: PathBuf,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    hosts: BTreeMap<HostName, Host>,
}

impl Inventory {
    pub fn new(hosts: impl IntoIterator<Item = Host>) -> Self {
        Self { hosts: hosts.into_iter().map(|host| (host.name.clone(), host)).collect() }
    }

    pub fn get(&self, name: &HostName) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// Whether a host is in it with this role.
    pub fn has(&self, name: &HostName, role: Role) -> bool {
        self.get(name).is_some_and(|host| host.roles.has(role))
    }

    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Host> {
        self.hosts.values().filter(move |host| host.roles.has(role))
    }

    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }
}

/// Why this machine's inventory name cannot be determined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnNameError {
    #[error(
        "this machine's hostname is `{hostname}`, which is not in the inventory (hosts: {known}); set `[this-host] name`"
    )]
    Unknown { hostname: String, known: String },
    #[error(
        "this machine's hostname is `{hostname}`, which matches several hosts ({candidates}); set `[this-host] name`"
    )]
    Ambiguous { hostname: String, candidates: String },
}

/// Finds the inventory name of a machine whose hostname (short or qualified) is `hostname`.
pub fn own_name<'a>(
    hostname: &str,
    names: impl Iterator<Item = &'a HostName> + Clone,
) -> Result<HostName, OwnNameError> {
    let hostname = hostname.trim_end_matches('.').to_ascii_lowercase();
    if let Some(name) = names.clone().find(|name| name.as_str() == hostname) {
        return Ok(name.clone());
    }
    let short = hostname.split('.').next().unwrap_or_default();
    // Two qualified names that differ only in their domain are different machines.
    let matching: Vec<_> = names
        .clone()
        .filter(|name| name.short() == short && (hostname == short || name.as_str() == short))
        .collect();
    match matching[..] {
        [name] => Ok(name.clone()),
        [] => Err(OwnNameError::Unknown { hostname, known: some_of(names) }),
        _ => Err(OwnNameError::Ambiguous { hostname, candidates: some_of(matching.into_iter()) }),
    }
}

/// The first few names, so that an error stays readable with two thousand hosts.
fn some_of<'a>(names: impl Iterator<Item = &'a HostName>) -> String {
    const MAX_SHOWN: usize = 8;
    let names: Vec<_> = names.map(HostName::as_str).collect();
    let shown = names[..names.len().min(MAX_SHOWN)].join(", ");
    if names.len() > MAX_SHOWN { format!("{shown} and {} more", names.len() - MAX_SHOWN) } else { shown }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(list: &[&str]) -> Vec<HostName> {
        list.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_qualified_hostname_is_used_as_it_is() {
        let hosts = names(&["m1.a.com", "m1.b.com"]);
        assert_eq!(own_name("M1.B.com", hosts.iter()).unwrap().as_str(), "m1.b.com");
    }

    #[test]
    fn a_short_hostname_is_used_when_it_matches_one_host() {
        let hosts = names(&["m1.a.com", "m2.a.com"]);
        assert_eq!(own_name("m2", hosts.iter()).unwrap().as_str(), "m2.a.com");
    }

    #[test]
    fn a_qualified_hostname_finds_a_short_inventory_name() {
        let hosts = names(&["m1", "m2"]);
        assert_eq!(own_name("m2.a.com", hosts.iter()).unwrap().as_str(), "m2");
    }

    #[test]
    fn a_hostname_that_matches_two_hosts_is_refused_with_the_candidates() {
        let hosts = names(&["m1.a.com", "m1.b.com"]);
        let error = own_name("m1", hosts.iter()).unwrap_err().to_string();
        assert!(error.contains("m1.a.com, m1.b.com"), "{error}");
    }

    #[test]
    fn the_same_short_name_in_another_domain_is_another_machine() {
        let hosts = names(&["m1.a.com"]);
        assert!(matches!(own_name("m1.z.com", hosts.iter()), Err(OwnNameError::Unknown { .. })));
    }
}
