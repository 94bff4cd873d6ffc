//! From raw tables to settings: fills in defaults, parses texts, and checks the rules across keys.

mod archive;
mod argv;
mod drill;
mod etcd;
mod file_rule;
mod files;
mod hook;
mod host;
mod hosts;
mod metrics;
mod names;
mod night;
mod notify;
mod places;
mod stages;
mod vault;

pub(crate) use hook::hooks;
pub(crate) use notify::targets;

use std::collections::BTreeMap;

use nightshift_core::name::ClusterName;
use nightshift_core::role::Roles;
use nightshift_core::settings::Settings;

use crate::context::Context;
use crate::ledger::Ledger;
use crate::raw;
use crate::refusal::Refusal;

/// The settings; `None` if something was refused, which the ledger has recorded.
pub(crate) fn settings(
    raw: &raw::Config,
    context: &Context<'_>,
    ledger: &mut Ledger<'_>,
) -> Option<Settings> {
    let paths = places::paths(&raw.paths, context, ledger);
    let ssh = places::ssh(&raw.ssh, &paths, ledger);
    let vault = vault::vault(&raw.vault, &paths, ledger);
    let cluster = cluster(raw, ledger);
    let night = night::night(raw.night.as_ref().map(|night| &**night.get_ref()), context, ledger);
    // Without a key that was refused, the night would be another one, and times that are right would be outside it.
    let is_known = !ledger.may_lack_keys_of("night");
    let window = night.as_ref().filter(|_| is_known).map(|night| &night.window);
    let files = files::files(&raw.files, &paths, &vault.path, ledger);
    let etcd = etcd::etcd(&raw.etcd, window, ledger);
    let archive = archive::archive(&raw.archive, ledger);
    let remotes = archive::remotes(raw, &archive, &ssh.settings, ledger);
    let hosts = host::Defaults { user: &ssh.user, port: ssh.port, vault: &vault.path };
    let inventory = hosts::inventory(raw, ledger);
    night::require_zone(raw, inventory.as_ref().map_or(0, BTreeMap::len), ledger);
    let this_host = hosts::this_host(raw, &hosts, inventory, context, ledger);
    let roles = this_host.as_ref().and_then(|(this, inventory)| Some(inventory.get(this)?.roles));
    let times = stages::Night {
        table: raw.night.as_ref().map(toml::Spanned::span),
        window,
        roles: roles.unwrap_or(Roles::NONE),
    };
    let stages = stages::stages(&raw.stage, &times, ledger);
    let (this, inventory) = this_host?;
    let drill = drill::drill(&raw.drill, &inventory, ledger);
    let night = night?;
    let settings = Settings {
        cluster: cluster?,
        this,
        inventory,
        window: night.window,
        trust_clock: night.trust_clock,
        tolerate: night.tolerate,
        stages: stages?,
        files,
        etcd,
        drill,
        vault,
        archive,
        remotes,
        ssh: ssh.settings,
        metrics: metrics::metrics(&raw.metrics, ledger),
        notify: targets(raw, ledger),
        hooks: hooks(raw, ledger),
        paths,
    };
    archive::check_names(&settings, raw, ledger);
    Some(settings)
}

fn cluster(raw: &raw::Config, ledger: &mut Ledger<'_>) -> Option<ClusterName> {
    let Some(table) = raw.cluster.as_ref().filter(|table| table.get_ref().name.is_some()) else {
        let span = raw.cluster.as_ref().map(toml::Spanned::span);
        let refusal = Refusal::new("the cluster has no name")
            .help("set `[cluster] name` to the same name on every host, such as `name = \"prod\"`");
        ledger.missing(span.as_ref(), refusal);
        return None;
    };
    ledger.section("[cluster]");
    ledger.take_optional("name", &table.get_ref().name, "", |text| Ok(text.parse()?))
}
