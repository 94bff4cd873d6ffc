//! `[host.X]`: the settings of one listed host that differ from the others'.

use std::collections::BTreeMap;
use std::path::Path;

use nightshift_core::inventory::{Host, Inventory};
use nightshift_core::name::HostName;
use nightshift_core::role::{Role, Roles};
use toml::Spanned;

use crate::ledger::Ledger;
use crate::nearest::nearest;
use crate::refusal::Refusal;
use crate::{check, defaults, raw, show};

/// How a host is reached, if its own table sets nothing else.
#[derive(Debug)]
pub(super) struct Defaults<'a> {
    pub(super) user: &'a str,
    pub(super) port: u16,
    pub(super) vault: &'a Path,
}

/// All hosts, with the settings of their tables.
pub(super) fn complete(
    raw: &raw::Config,
    defaults: &Defaults<'_>,
    roles: &BTreeMap<HostName, Roles>,
    ledger: &mut Ledger<'_>,
) -> Inventory {
    let mut different: BTreeMap<&HostName, Host> = BTreeMap::new();
    for (key, table) in &raw.host {
        let listed = key.get_ref().parse().ok().and_then(|name: HostName| roles.get_key_value(&name));
        let Some((name, roles)) = listed else {
            unlisted(key, &key.get_ref().to_ascii_lowercase(), roles, ledger);
            continue;
        };
        let host = overlay(plain(name, *roles, defaults), table, ledger);
        if different.insert(name, host).is_some() {
            let refusal = Refusal::new(format!("two tables for `{name}`"))
                .help("remove one of them; host names are compared without case");
            ledger.refuse(Some(&key.span()), refusal);
        }
    }
    Inventory::new(
        roles
            .iter()
            .map(|(name, roles)| different.remove(name).unwrap_or_else(|| plain(name, *roles, defaults))),
    )
}

fn unlisted(key: &Spanned<String>, name: &str, roles: &BTreeMap<HostName, Roles>, ledger: &mut Ledger<'_>) {
    let refusal = Refusal::new(format!("`{name}` is not in any group of [hosts]"))
        .meant(nearest(name, roles.keys().map(HostName::as_str)))
        .help("a [host.\"NAME\"] table only changes a listed host; list it in `masters`, `etcd` or `nodes`");
    ledger.missing(Some(&key.span()), refusal);
}

fn plain(name: &HostName, roles: Roles, defaults: &Defaults<'_>) -> Host {
    Host {
        name: name.clone(),
        roles,
        address: name.as_str().to_owned(),
        port: defaults.port,
        user: defaults.user.to_owned(),
        agentless: defaults::AGENTLESS,
        expected: defaults::EXPECTED,
        vault: defaults.vault.to_owned(),
    }
}

fn overlay(plain: Host, raw: &raw::Host, ledger: &mut Ledger<'_>) -> Host {
    ledger.section(format!("[host.{}]", show::key(plain.name.as_str())));
    let only_a_node = plain.roles == Roles::NONE.with(Role::Node);
    let roles = plain.roles;
    let agentless = ledger.take("agentless", &raw.agentless, plain.agentless, |agentless| {
        if *agentless && !only_a_node {
            return Err(Refusal::new(format!("{} cannot be agentless; its roles are: {roles}", plain.name))
                .help(
                    "only a host whose single role is node can be agentless; run the daemon on the others",
                ));
        }
        Ok(*agentless)
    });
    let user = if agentless { defaults::AGENTLESS_USER.to_owned() } else { plain.user };
    Host {
        address: ledger.take("address", &raw.address, plain.address, check::address),
        port: ledger.take("port", &raw.port, plain.port, check::port),
        user: ledger.take("user", &raw.user, user, check::user),
        expected: ledger.take("expected", &raw.expected, plain.expected, check::any),
        vault: ledger.take("vault", &raw.vault, plain.vault, check::path),
        agentless,
        name: plain.name,
        roles,
    }
}
