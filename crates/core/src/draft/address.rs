//! Which address, port and user of an inventory's variables are used, and which are not, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use crate::ansible::{Value, Vars};
use crate::name::HostName;
use crate::text::Text;

use super::{Guess, Table, shown};

/// The first one that is set counts. Kubespray: by `access_ip` other hosts reach a host, by `ip` if it has none;
/// openshift-ansible: `openshift_ip` is the address inside the cluster. `ansible_host` is the one that Ansible itself uses.
const ADDRESSES: [&str; 5] = ["access_ip", "ip", "openshift_ip", "ansible_host", "ansible_ssh_host"];
const PORTS: [&str; 2] = ["ansible_port", "ansible_ssh_port"];
const USERS: [&str; 2] = ["ansible_user", "ansible_ssh_user"];

/// How the hosts of an inventory are reached.
#[derive(Debug, Default)]
pub(super) struct Reached {
    tables: Vec<Table>,
    hosts: usize,
    users: BTreeSet<String>,
    becomes: bool,
    /// By the reason: the hosts with a variable that is not used.
    unused: BTreeMap<String, BTreeSet<String>>,
}

impl Reached {
    pub(super) fn add(&mut self, name: &HostName, vars: &Vars) {
        self.hosts += 1;
        let address = self.address(name, vars);
        let port = self.port(name, vars);
        if address.is_some() || port.is_some() {
            self.tables.push(Table { name: name.clone(), address, port });
        }
        let user = USERS.iter().find_map(|user| vars.get(user));
        self.users.extend(user.and_then(Value::text).map(|user| Text::new(user).as_str().to_owned()));
        let becomes = vars.get("ansible_become").and_then(Value::text);
        self.becomes |= becomes
            .is_some_and(|text| ["true", "yes", "on", "1"].contains(&text.to_ascii_lowercase().as_str()));
    }

    fn address(&mut self, name: &HostName, vars: &Vars) -> Option<(String, &'static str)> {
        for variable in ADDRESSES {
            let reason = match vars.get(variable) {
                None => continue,
                Some(Value::Unknown) => "a template, encrypted or not plain text",
                Some(Value::Text(address)) if is_loopback(address) => "an address of the loopback interface",
                Some(Value::Text(address)) if !is_address(address) => "not a plain name or address",
                Some(Value::Text(address)) if address.eq_ignore_ascii_case(name.as_str()) => return None,
                Some(Value::Text(address)) => return Some((address.clone(), variable)),
            };
            self.leave(name, format!("`{variable}` is not used, because it is {reason}"));
        }
        None
    }

    /// A port that is forwarded on loopback is not that of the host's SSH server.
    fn port(&mut self, name: &HostName, vars: &Vars) -> Option<(u16, &'static str)> {
        let text = |name: &str| vars.get(name).and_then(Value::text);
        if ["ansible_host", "ansible_ssh_host"].iter().find_map(|name| text(name)).is_some_and(is_loopback) {
            return None;
        }
        let variable = PORTS.into_iter().find(|port| vars.get(port).is_some())?;
        match text(variable).and_then(|port| port.parse().ok()) {
            Some(0) | None => {
                self.leave(name, format!("`{variable}` is not used, because it is not a plain number"));
                None
            }
            Some(22) => None,
            Some(port) => Some((port, variable)),
        }
    }

    fn leave(&mut self, name: &HostName, reason: String) {
        self.unused.entry(reason).or_default().insert(name.to_string());
    }

    /// The tables of hosts; the port that all of them have, if they have the same one; and comments about the logins.
    pub(super) fn end(mut self) -> (Vec<Table>, Option<Guess<u16>>, Vec<String>) {
        let ports: BTreeSet<_> = self.tables.iter().filter_map(|table| table.port).collect();
        let with_port = self.tables.iter().filter(|table| table.port.is_some()).count();
        let same = ports.first().filter(|_| ports.len() == 1 && with_port == self.hosts).copied();
        if same.is_some() {
            self.tables.iter_mut().for_each(|table| table.port = None);
            self.tables.retain(|table| table.address.is_some());
        }
        let port = same.map(|(port, variable)| Guess::new(port, format!("From `{variable}` of every host.")));
        let mut comments: Vec<String> = Vec::new();
        if !self.users.is_empty() {
            let users: Vec<&str> = self.users.iter().map(String::as_str).take(4).collect();
            let becomes = if self.becomes { ", and becomes root" } else { "" };
            comments.push(format!(
                "Ansible logs in as {}{becomes}. nightshift does not: masters log in as the user that its package creates.",
                users.join(", ")
            ));
        }
        for (reason, hosts) in &self.unused {
            comments.push(format!("{reason}: {}.", shown(hosts.iter().map(String::as_str))));
        }
        (self.tables, port, comments)
    }
}

fn is_loopback(address: &str) -> bool {
    address == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A host name or an IP address, as `address` in a config.
pub(super) fn is_address(text: &str) -> bool {
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.parse::<Ipv6Addr>().is_ok()
        || (!text.is_empty() && !text.starts_with('-') && text.chars().all(in_name))
}
