//! `[hosts]` and `[this-host]`: the hosts of the cluster, and which of them is this machine.

use std::collections::BTreeMap;

use nightshift_core::inventory::{self, Inventory, MAX_HOSTS};
use nightshift_core::name::{HostName, NameError};
use nightshift_core::ranges;
use nightshift_core::role::{Role, Roles};
use toml::Spanned;

use super::host::{self, Defaults};
use crate::context::Context;
use crate::ledger::Ledger;
use crate::nearest::nearest;
use crate::raw;
use crate::refusal::Refusal;
use crate::show::{self, Origin, Shown};

/// The hosts that `[hosts]` lists, with their roles; `None` if some of them were refused.
pub(super) fn inventory(raw: &raw::Config, ledger: &mut Ledger<'_>) -> Option<BTreeMap<HostName, Roles>> {
    let mut roles = BTreeMap::new();
    let mut whole = true;
    let Some(hosts) = &raw.hosts else { return Some(roles) };
    ledger.section("[hosts]");
    let groups = [
        ("masters", &hosts.get_ref().masters, Role::Master),
        ("etcd", &hosts.get_ref().etcd, Role::Etcd),
        ("nodes", &hosts.get_ref().nodes, Role::Node),
    ];
    for (key, list, role) in groups {
        ledger.take_list(key, list, Vec::new, |pattern| Ok(pattern.to_owned()));
        let Some(list) = list else { continue };
        whole &= add_group(list.get_ref(), role, &mut roles, ledger);
    }
    if roles.is_empty() && whole {
        let refusal = Refusal::new("[hosts] lists no hosts").help(
            "list hosts in `masters`, `etcd` and `nodes`, or remove [hosts] and set `[this-host] roles`",
        );
        ledger.missing(Some(&hosts.span()), refusal);
        whole = false;
    }
    whole.then_some(roles)
}

/// Adds the hosts of one group. Returns whether all of its patterns were valid.
fn add_group(
    patterns: &[Spanned<String>],
    role: Role,
    roles: &mut BTreeMap<HostName, Roles>,
    ledger: &mut Ledger<'_>,
) -> bool {
    let mut whole = true;
    let mut size = 0;
    for pattern in patterns {
        match expand(pattern.get_ref()) {
            Ok(names) => {
                size += names.len();
                if size > MAX_HOSTS {
                    ledger.refuse(
                        Some(&pattern.span()),
                        Refusal::new(format!("this group lists more than {MAX_HOSTS} hosts")),
                    );
                    return false;
                }
                for name in names {
                    let entry = roles.entry(name).or_default();
                    *entry = entry.with(role);
                }
            }
            Err(refusal) => {
                ledger.refuse(Some(&pattern.span()), refusal);
                whole = false;
            }
        }
    }
    whole
}

fn expand(pattern: &str) -> Result<Vec<HostName>, Refusal> {
    let names = ranges::expand(pattern).map_err(|error| {
        Refusal::new(error.to_string())
            .help("write ranges as in an Ansible inventory, such as `node[01:40].example.com`")
    })?;
    names.into_iter().map(|name| name.parse().map_err(|error| invalid_name(&name, &error))).collect()
}

fn invalid_name(name: &str, error: &NameError) -> Refusal {
    let refusal = Refusal::new(format!("invalid host name: {error}"));
    match name.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => refusal
            .help(format!("write the name alone, and set the port by `[host.\"{host}\"] port = {port}`")),
        _ if name.contains(':') => {
            refusal.help("give the host a name, and set the address by `[host.\"NAME\"] address`")
        }
        _ => refusal,
    }
}

/// Finds this machine among the hosts, and applies the `[host.X]` tables.
pub(super) fn this_host(
    raw: &raw::Config,
    defaults: &Defaults<'_>,
    roles: Option<BTreeMap<HostName, Roles>>,
    context: &Context<'_>,
    ledger: &mut Ledger<'_>,
) -> Option<(HostName, Inventory)> {
    let this_host = &*raw.this_host;
    ledger.section("[this-host]");
    let own_roles = own_roles(this_host, ledger);
    // Without all hosts and this host's roles, nothing more can be checked.
    let (mut roles, own_roles) = (roles?, own_roles?);
    let this = own_name(this_host, raw, &roles, context, ledger);
    if let Some(this) = &this {
        own_roles_agree(this_host, this, own_roles, &mut roles, ledger);
    }
    let inventory = host::complete(raw, defaults, &roles, ledger);
    require_master(raw, &roles, ledger);
    let this = this?;
    let host = inventory.get(&this)?;
    if host.agentless {
        let span = raw.host.iter().find(|(name, _)| name.get_ref().eq_ignore_ascii_case(this.as_str()));
        let refusal = Refusal::new(format!(
            "this machine is {this}, which is agentless: no daemon should run here"
        ))
        .help("disable nightshift.service on this host, or remove `agentless` from the config of every host");
        ledger.warn(span.and_then(|(_, host)| host.agentless.as_ref()).map(Spanned::span).as_ref(), refusal);
    }
    Some((this, inventory))
}

/// Only masters pull what the other hosts have made, and ship archives. A single host may back up itself alone.
fn require_master(raw: &raw::Config, roles: &BTreeMap<HostName, Roles>, ledger: &mut Ledger<'_>) {
    if roles.len() < 2 || roles.values().any(|roles| roles.has(Role::Master)) {
        return;
    }
    let refusal = Refusal::new("[hosts] lists no master, so no set would leave its host")
        .help("list in `masters` the hosts that pull the sets of all others and ship archives");
    ledger.missing(raw.hosts.as_ref().map(Spanned::span).as_ref(), refusal);
}

/// The roles in `[this-host] roles`: `Some(None)` if unset, `None` if they were refused.
fn own_roles(raw: &raw::ThisHost, ledger: &mut Ledger<'_>) -> Option<Option<Roles>> {
    let Some(list) = &raw.roles else { return Some(None) };
    let mut roles = Roles::NONE;
    let mut whole = !list.get_ref().is_empty();
    for word in list.get_ref() {
        match word.get_ref().parse::<Role>() {
            Ok(role) => roles = roles.with(role),
            Err(error) => {
                let meant = nearest(word.get_ref(), Role::ALL.map(Role::as_str));
                ledger.refuse(Some(&word.span()), Refusal::new(error.to_string()).meant(meant));
                whole = false;
            }
        }
    }
    if list.get_ref().is_empty() {
        let refusal = Refusal::new("`roles` is empty").help("list at least one of `master`, `etcd`, `node`");
        ledger.refuse(Some(&list.span()), refusal);
    }
    whole.then_some(Some(roles))
}

fn own_name(
    this_host: &raw::ThisHost,
    raw: &raw::Config,
    roles: &BTreeMap<HostName, Roles>,
    context: &Context<'_>,
    ledger: &mut Ledger<'_>,
) -> Option<HostName> {
    if this_host.name.is_some() {
        return ledger.take_optional("name", &this_host.name, "", |text| {
            let name: HostName = text.parse()?;
            if !roles.is_empty() && !roles.contains_key(&name) {
                return Err(Refusal::new(format!("`{name}` is not in any group of [hosts]"))
                    .meant(nearest(name.as_str(), roles.keys().map(HostName::as_str)))
                    .help("write the name as in [hosts]"));
            }
            Ok(name)
        });
    }
    let found = if roles.is_empty() {
        context.hostname.parse().map_err(|error: NameError| {
            format!("this machine's hostname is not a valid host name ({error}); set `[this-host] name`")
        })
    } else {
        inventory::own_name(&context.hostname, roles.keys()).map_err(|error| error.to_string())
    };
    match found {
        Ok(name) => {
            ledger.note("name", name.shown(), Origin::Machine);
            Some(name)
        }
        Err(why) => {
            ledger.missing(raw.hosts.as_ref().map(Spanned::span).as_ref(), Refusal::new(why));
            None
        }
    }
}

/// If `[hosts]` lists this host, `[this-host] roles` must contain the same roles.
fn own_roles_agree(
    raw: &raw::ThisHost,
    this: &HostName,
    own: Option<Roles>,
    roles: &mut BTreeMap<HostName, Roles>,
    ledger: &mut Ledger<'_>,
) {
    let span = raw.roles.as_ref().map(Spanned::span);
    let shown = |roles: Roles| show::list(roles.iter());
    let origin = span.as_ref().map_or(Origin::Inventory, |span| ledger.origin(span));
    match (roles.get(this).copied(), own) {
        (Some(listed), Some(own)) if listed != own => {
            let refusal = Refusal::new(format!("`roles` is {own}, but [hosts] lists {this} as {listed}"))
                .help("remove `roles`; with [hosts] set, the roles of every host come from there");
            ledger.missing(span.as_ref(), refusal);
        }
        (Some(listed), _) => ledger.note("roles", shown(listed), origin),
        (None, Some(own)) if roles.is_empty() => {
            roles.insert(this.clone(), own);
            ledger.note("roles", shown(own), origin);
        }
        (None, _) => {
            let refusal = Refusal::new(format!("{this} has no role, so it would run no stage"))
                .help("list the cluster's hosts in [hosts], or set `[this-host] roles`, such as `roles = [\"etcd\"]`");
            ledger.missing(None, refusal);
        }
    }
}
