//! Whether the machines are ready for a plan: looked at over ssh, and changed by nothing.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use nightshift_core::chain;
use nightshift_core::etcd_facts::RunsAs;
use nightshift_core::name::HostName;
use nightshift_core::restore::Plan;
use nightshift_core::restore::act::{Act, Facts, UnitFacts, Wanted};
use nightshift_core::restore::machine::Machine;
use nightshift_core::restore::units;
use nightshift_core::role::Role;
use nightshift_core::units::bytes;
use nightshift_etcd::trial::tools::Version;

use crate::call::{PARALLEL, call};
use crate::data::Data;
use crate::directory::Checked;
use crate::login::Login;
use crate::target::other_plan;

/// A clock that is further off makes certificates invalid and etcd's leases wrong.
const MAX_CLOCK_DIFFERENCE: SignedDuration = SignedDuration::from_secs(60);
/// Beside what is put in place, in bytes.
const SPARE: u64 = 64 << 20;

/// What was found of one machine.
#[derive(Debug)]
pub struct Found {
    pub host: HostName,
    /// Why it is not ready.
    pub reasons: Vec<String>,
    /// What an operator should know.
    pub notes: Vec<String>,
    /// It is a node that cannot be reached.
    pub later: bool,
    pub machine_id: Option<String>,
}

impl Found {
    fn of(host: &HostName) -> Self {
        Self { host: host.clone(), reasons: Vec::new(), notes: Vec::new(), later: false, machine_id: None }
    }
}

/// Looks at all machines.
pub async fn check(login: &Login, plan: &Plan, data: Option<&Data>) -> Vec<Found> {
    let looked = plan.machines.iter().map(|machine| look(login, plan, machine, data));
    let mut found: Vec<Found> = stream::iter(looked).buffer_unordered(PARALLEL).collect().await;
    found.sort_by(|one, other| one.host.cmp(&other.host));
    same_machine(&mut found);
    found
}

/// Two names that lead to one machine: what is restored second would replace what was restored first.
fn same_machine(found: &mut [Found]) {
    let ids: Vec<(HostName, String)> =
        found.iter().filter_map(|found| Some((found.host.clone(), found.machine_id.clone()?))).collect();
    for machine in found {
        let Some(id) = &machine.machine_id else { continue };
        if let Some((other, _)) = ids.iter().find(|(host, other)| *host != machine.host && other == id) {
            machine.reasons.push(format!(
                "it is the same machine as {other} (machine-id {id}); check names and addresses"
            ));
        }
    }
}

fn is_other_machine(found: &mut Found, machine: &Machine, facts: &Facts) {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    if short(&facts.hostname) != short(machine.host.as_str()) {
        found.reasons.push(format!("its host name is {}; check names and addresses", facts.hostname));
    }
}

/// What a later step starts must be installed.
fn units_missing(found: &mut Found, plan: &Plan, machine: &Machine, facts: &Facts) {
    let exists = |names: &[String]| facts.units.iter().any(|unit| unit.exists && names.contains(&unit.name));
    let mut wanted: Vec<Vec<String>> = Vec::new();
    if machine.has(Role::Master) && machine.pods.is_none() {
        wanted.extend([units::names(&units::API), units::names(&units::CONTROLLERS)]);
    }
    if machine.has(Role::Node) || machine.pods.is_some() || plan.etcd_pod(machine).is_some() {
        wanted.push(units::names(&units::KUBELET));
    }
    if let Some(RunsAs::Unit(unit)) = plan.member(&machine.host).map(|member| &member.runs) {
        wanted.push(vec![unit.to_string()]);
    }
    for names in wanted.iter().filter(|names| !exists(names)) {
        found.reasons.push(format!("none of these units is installed: {}", names.join(", ")));
    }
}

/// The operator must see that something runs there: the names may lead to the living cluster.
fn in_use(found: &mut Found, facts: &Facts) {
    let active: Vec<&str> =
        facts.units.iter().filter(|unit| unit.active).map(|unit| unit.name.as_str()).collect();
    if !active.is_empty() {
        found.notes.push(format!("IT RUNS {}, WHICH WILL BE STOPPED", active.join(", ")));
    }
    if !facts.manifests.is_empty() {
        let manifests = facts.manifests.join(", ");
        found.notes.push(format!("IT RUNS THE STATIC PODS {manifests}, WHICH WILL BE STOPPED"));
    }
    for data in facts.data.iter().filter(|data| data.has_member) {
        found.notes.push(format!("{} HAS DATA, WHICH WILL BE MOVED ASIDE", data.path));
    }
}

/// An etcd that no unit runs would not be stopped by the plan.
fn runs_elsewhere(found: &mut Found, plan: &Plan, machine: &Machine, facts: &Facts) {
    let etcd = units::names(&units::ETCD);
    let is_of_a_unit = facts.units.iter().any(|unit| unit.active && etcd.contains(&unit.name));
    let runs_as_a_unit =
        plan.member(&machine.host).is_some_and(|member| matches!(member.runs, RunsAs::Unit(_)));
    if runs_as_a_unit && !is_of_a_unit {
        for data in facts.data.iter().filter(|data| data.in_use) {
            found.reasons.push(format!(
                "etcd runs there outside of its unit, with the data in {}; stop it",
                data.path
            ));
        }
    }
}

/// Where the files and the member's data need space.
fn space(plan: &Plan, machine: &Machine) -> Vec<String> {
    let data = plan.member(&machine.host).map(|member| member.data.path.to_string());
    std::iter::once("/etc".to_owned()).chain(data).collect()
}

pub fn summary(found: &[Found], now: Timestamp) -> Checked {
    let reasons = found
        .iter()
        .flat_map(|found| found.reasons.iter().map(|reason| format!("{}: {reason}", found.host)))
        .collect();
    let later = found.iter().filter(|found| found.later).map(|found| found.host.clone()).collect();
    Checked { at: now, reasons, later }
}

async fn look(login: &Login, plan: &Plan, machine: &Machine, data: Option<&Data>) -> Found {
    let member = plan.member(&machine.host);
    let wanted = Wanted {
        units: plan.units(machine).into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
        manifests: plan.manifests(machine),
        data: member.map(|member| member.data.path.to_string()).into_iter().collect(),
        space: space(plan, machine),
        users: member.and_then(|member| member.data.owner.user.clone()).into_iter().collect(),
        groups: member.and_then(|member| member.data.owner.group.clone()).into_iter().collect(),
    };
    let before = Timestamp::now();
    let called = call(login, machine, &plan.id, "2", Act::Facts(wanted), Vec::new()).await;
    let after = Timestamp::now();
    let mut found = Found::of(&machine.host);
    match called {
        Ok(outcome) => match outcome.facts {
            Some(facts) => {
                found.machine_id = facts.machine_id.as_ref().map(ToString::to_string);
                judge(&mut found, plan, machine, data, &facts, before, after);
            }
            None => found.reasons.push("it returned no facts".to_owned()),
        },
        Err(error) if error.is_not_connected() && machine.is_node_only() => {
            found.later = true;
            found.notes.push(format!("done later: {}", chain(&error)));
        }
        Err(error) => found.reasons.push(chain(&error)),
    }
    found
}

fn judge(
    found: &mut Found,
    plan: &Plan,
    machine: &Machine,
    data: Option<&Data>,
    facts: &Facts,
    before: Timestamp,
    after: Timestamp,
) {
    let mut refuse = |reason: String| found.reasons.push(reason);
    if !facts.is_root {
        refuse("the login is not root; use --user with a user that has sudo without a password".to_owned());
    }
    if facts.version != env!("CARGO_PKG_VERSION") {
        refuse(format!(
            "it has nightshift {}, and this machine {}; install the same version on both",
            facts.version,
            env!("CARGO_PKG_VERSION")
        ));
    }
    if let Some(other) = facts.plan.as_ref().filter(|other| **other != plan.id) {
        refuse(other_plan("there", other));
    }
    let early = facts.now < before.saturating_sub(MAX_CLOCK_DIFFERENCE).unwrap_or(before);
    if early || facts.now > after.saturating_add(MAX_CLOCK_DIFFERENCE).unwrap_or(after) {
        refuse(format!(
            "its clock is at {}, that of this machine at {after}: more than 60 s apart; set it",
            facts.now
        ));
    }
    if !facts.unknown.is_empty() {
        refuse(format!(
            "users or groups that do not exist: {}; install etcd's package",
            facts.unknown.summary()
        ));
    }
    for data in facts.data.iter().filter(|data| !data.markers.is_empty()) {
        refuse(format!(
            "a cold copy has stopped the member of {} and not started it again ({}); start nightshift-cold-copy-recover.service there",
            data.path,
            data.markers.summary()
        ));
    }
    let made = plan
        .member(&machine.host)
        .and_then(|member| data?.members.get(&member.host))
        .map_or(0, |made| made.size);
    let needs = [machine.bytes(), made.saturating_mul(2)];
    for ((path, free), need) in space(plan, machine).iter().zip(&facts.space).zip(needs) {
        let need = need.saturating_add(SPARE);
        if *free < need {
            refuse(format!("{path}: {} are free, but {} are needed; make space", bytes(*free), bytes(need)));
        }
    }
    is_other_machine(found, machine, facts);
    units_missing(found, plan, machine, facts);
    in_use(found, facts);
    runs_elsewhere(found, plan, machine, facts);
    older_etcd(found, plan, machine, facts);
    other_unit(found, plan, machine, facts);
    if let Some(system) = &machine.system {
        let same = facts.os == system.os && facts.architecture == system.architecture;
        if !same {
            found.notes.push(format!(
                "it runs {} {}, and ran {} {}",
                facts.os, facts.architecture, system.os, system.architecture
            ));
        }
    }
}

/// A plan has the unit in which the member ran. Another one would start an empty etcd after a reboot.
fn other_unit(found: &mut Found, plan: &Plan, machine: &Machine, facts: &Facts) {
    let etcd = units::names(&units::ETCD);
    let held = plan.held(machine);
    let is_other = |unit: &&UnitFacts| etcd.contains(&unit.name) && !held.contains(&unit.name);
    for unit in facts.units.iter().filter(is_other).filter(|unit| unit.active || unit.enabled) {
        found.reasons.push(format!(
            "it runs etcd as {}, but the old member ran as another unit; disable this one, and install etcd as it was",
            unit.name
        ));
    }
}

/// etcd starts on a directory of an older minor version, but not the other way around.
fn older_etcd(found: &mut Found, plan: &Plan, machine: &Machine, facts: &Facts) {
    // A pod has the version that its manifest names, which is restored.
    let runs_as_unit = plan.member(&machine.host).is_some() && plan.etcd_pod(machine).is_none();
    let Some(etcd) = plan.etcd.as_ref().filter(|_| runs_as_unit) else { return };
    match facts.etcd.as_deref().map(|text| (text, Version::find(text))) {
        // In a container it is not found on the host.
        None => found.notes.push("the version of its etcd is unknown".to_owned()),
        Some((text, Some(installed))) => {
            let wanted = Version::find(&etcd.copy.version).map(Version::minor_version);
            if etcd.copy.v2 && wanted.is_some_and(|wanted| installed.minor_version() != wanted) {
                found.reasons.push(format!(
                    "etcd {text} has another minor version than the copy with v2 keys ({0}); install etcd {0}",
                    etcd.copy.version
                ));
                return;
            }
            let older = wanted.is_some_and(|wanted| installed.minor_version() < wanted);
            if older {
                found.reasons.push(format!(
                    "etcd {text} is older than that of the copy ({0}); install etcd {0} or newer",
                    etcd.copy.version
                ));
            }
        }
        Some((text, None)) => found.notes.push(format!("etcd has an unknown version: {text}")),
    }
}

#[cfg(test)]
mod tests;
