//! Makes the plan. Pure: everything that it needs was read and verified before.

use crate::digest::Digest;
use crate::inventory::{Host, Inventory};
use crate::name::HostName;
use crate::restore::copy::CopyKind;
use crate::restore::etcd::EtcdPlan;
use crate::restore::evidence::{Evidence, FoundSet};
use crate::restore::finding::Finding;
use crate::restore::id::PlanId;
use crate::restore::join::Join;
use crate::restore::machine::Machine;
use crate::restore::scope::Scope;
use crate::restore::{FORMAT, Plan, RemoteLogin, certificates, etcd, join, machine};
use crate::role::Role;
use crate::settings::Remote;
use crate::text::Lines;

/// How the one loss is named that every restore has.
pub const AFTER_THE_SNAPSHOT: &str = "everything that was written to etcd after";

/// Only what is made from a snapshot can have a higher revision.
const NOT_RAISED: &str = "etcd's revisions are not raised, because its copy has v2 keys: clients that keep running may miss events without \
    an error, so restart every client of the API and of etcd that the plan does not restart: SDN, routers, registries, operators";

/// An operator must not conclude from silence that these were checked.
const NOT_CHECKED: &str = "not checked: certificates that no configuration of etcd, the API server or a kubelet names (of load balancers, \
    registries, users); whether a KMS and the services of webhooks run";

/// The plan for the whole cluster.
pub fn make(evidence: &Evidence<'_>) -> Plan {
    make_of(evidence, evidence, Scope::Cluster)
}

/// The plan for a part of the cluster.
pub fn make_part(all: &Evidence<'_>, scope: Scope) -> Plan {
    let settings = scope.narrowed(all.settings);
    let is_included = |set: &&FoundSet| settings.inventory.get(&set.manifest.host).is_some();
    let sets = all.sets.iter().filter(is_included).cloned().collect();
    let (source, signed) = (all.source.clone(), all.signed.clone());
    let part = Evidence {
        settings: &settings,
        night: all.night,
        source,
        signed,
        sets,
        survivor: all.survivor.clone(),
        now: all.now,
    };
    make_of(all, &part, scope)
}

fn make_of(all: &Evidence<'_>, evidence: &Evidence<'_>, scope: Scope) -> Plan {
    let mut findings = Vec::new();
    let mut machines = machine::plan(evidence, &mut findings);
    for machine in &mut machines {
        let etcds = match scope {
            Scope::Etcd => etcd::files(evidence, &machine.host),
            _ => Vec::new(),
        };
        machine.files.retain(|file| scope.restores(&file.file.path, &etcds));
    }
    let inventory = &evidence.settings.inventory;
    let has_etcd = inventory.with_role(Role::Etcd).next().is_some();
    let etcd = match scope {
        // Its etcd may be another team's.
        Scope::Cluster if !has_etcd => {
            findings.push(Finding::lost("etcd's keys: the inventory has no etcd host"));
            None
        }
        Scope::Cluster | Scope::Etcd => etcd::plan(evidence, &mut findings),
        Scope::Host(_) | Scope::Files { .. } => None,
    };
    let with_v2 = etcd.iter().filter(|etcd| etcd.copy.v2);
    let mut joins: Vec<Join> =
        with_v2.flat_map(|etcd| join::grow(evidence, &etcd.members, &mut findings)).collect();
    let mut others = Vec::new();
    if let Scope::Host(host) = &scope {
        joins.extend(inventory.has(host, Role::Etcd).then(|| join::plan(all, host, &mut findings)).flatten());
        let hosts = all.settings.inventory.hosts();
        others = hosts.filter(|other| concerns(host, inventory, other)).map(machine::running).collect();
    }
    findings.extend(nothing_to_do(&scope, &machines));
    findings.extend(etcd.iter().flat_map(|etcd| of_copy(evidence, etcd)));
    if !matches!(scope, Scope::Files { .. }) {
        certificates::check(evidence, &mut findings);
    }
    other_nights(evidence, &mut findings);
    if etcd.is_some() {
        findings.push(Finding::missing(NOT_CHECKED));
    }
    let agentless = inventory.hosts().filter(|host| host.agentless && scope.has_new_machines());
    findings.extend(agentless.map(|host| {
        Finding::missing(format!(
            "{}: after the restore, authorize the masters' new keys by hand (`nightshift keys authorize --agentless`), and pin its host key",
            host.name
        ))
    }));
    findings.sort_by_key(|finding| finding.kind);
    Plan {
        format: FORMAT,
        id: PlanId { night: evidence.night, number: number(evidence) },
        cluster: evidence.settings.cluster.clone(),
        made_at: evidence.now,
        scope,
        source: evidence.source.as_str().into(),
        signed: evidence.signed.as_str().into(),
        remotes: evidence.settings.remotes.iter().map(login).collect(),
        etcd,
        joins,
        machines,
        others,
        findings,
    }
}

/// Whether a host that runs has something to do with one that is restored: the masters log in to it, a new master logs in to all of them,
/// and a member joins the other members.
fn concerns(restored: &HostName, inventory: &Inventory, other: &Host) -> bool {
    let is = |role| inventory.has(restored, role);
    other.name != *restored
        && (is(Role::Master)
            || other.roles.has(Role::Master)
            || is(Role::Etcd) && other.roles.has(Role::Etcd))
}

/// What the one copy does not have, and members that the inventory does not have.
fn of_copy(evidence: &Evidence<'_>, plan: &EtcdPlan) -> Vec<Finding> {
    let copy = &plan.copy;
    let Some(set) = evidence.set(&copy.set) else { return Vec::new() };
    let lost = match copy.kind {
        CopyKind::Survivor => {
            format!("what {} did not know to be committed when the quorum was lost", copy.set.host)
        }
        CopyKind::Snapshot => {
            format!(
                "{AFTER_THE_SNAPSHOT} revision {} ({}, {})",
                copy.revision, set.manifest.made_at, copy.set
            )
        }
        CopyKind::ColdCopy | CopyKind::V2Backup => {
            format!("{AFTER_THE_SNAPSHOT} the copy of {} ({})", copy.set, set.manifest.made_at)
        }
    };
    let clients = copy.v2.then(|| Finding::missing(NOT_RAISED));
    let unknown = set.manifest.etcd.iter().flat_map(|facts| etcd::compare_members(facts, plan));
    std::iter::once(Finding::lost(lost)).chain(clients).chain(unknown.map(Finding::refused)).collect()
}

/// An operator may have mistyped a host or a path.
fn nothing_to_do(scope: &Scope, machines: &[Machine]) -> Option<Finding> {
    match scope {
        Scope::Host(host) | Scope::Files { host, .. } if machines.is_empty() => {
            Some(Finding::refused(format!("{host} is not a host of the cluster's inventory")))
        }
        Scope::Files { host, path } if machines.iter().all(|machine| machine.files.is_empty()) => {
            Some(Finding::refused(format!("no set of {host} has {path}")))
        }
        _ => None,
    }
}

fn login(remote: &Remote) -> RemoteLogin {
    RemoteLogin {
        name: remote.name.clone(),
        user: remote.user.clone(),
        address: remote.address.clone(),
        port: remote.port,
    }
}

/// Two plans of the same sets, made at different times, are two plans: each has its own journal on the machines.
fn number(evidence: &Evidence<'_>) -> u32 {
    let sets = evidence.sets.iter().map(|set| format!("{} {}\n", set.manifest.id(), set.manifest.made_at));
    let all = sets.collect::<String>() + &evidence.now.to_string();
    let [a, b, c, d, ..] = *Digest::of(all.as_bytes()).as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The masters' files and the snapshot are of one night.
fn other_nights(evidence: &Evidence<'_>, findings: &mut Vec<Finding>) {
    let others = evidence.sets.iter().filter(|set| set.manifest.night != evidence.night);
    let (nodes, rest): (Vec<_>, Vec<_>) = others.partition(|set| set.manifest.role == Role::Node);
    let ids =
        |sets: Vec<&FoundSet>| -> Lines { sets.iter().map(|set| set.manifest.id().to_string()).collect() };
    if !rest.is_empty() {
        let summary = ids(rest).summary();
        findings.push(Finding::refused(format!("sets of another night than {}: {summary}", evidence.night)));
    }
    if !nodes.is_empty() {
        findings.push(Finding::lost(format!("older node sets: {}", ids(nodes).summary())));
    }
}
