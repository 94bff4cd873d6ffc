//! Makes the plan. Pure: everything that it needs was read and verified before.

use crate::digest::Digest;
use crate::restore::evidence::Evidence;
use crate::restore::finding::Finding;
use crate::restore::id::PlanId;
use crate::restore::{FORMAT, Plan, RemoteLogin, certificates, etcd, machine};
use crate::role::Role;
use crate::settings::Remote;
use crate::text::Lines;

/// How the one loss is named that every restore has.
pub const AFTER_THE_SNAPSHOT: &str = "everything that was written to etcd after";

/// An operator must not conclude from silence that these were checked.
const NOT_CHECKED: &str = "not checked: certificates that no configuration of etcd, the API server or a kubelet names (of load balancers, \
    registries, users); whether a KMS and the services of webhooks run";

pub fn make(evidence: &Evidence<'_>) -> Plan {
    let mut findings = Vec::new();
    let machines = machine::plan(evidence, &mut findings);
    let etcd = etcd::plan(evidence, &mut findings);
    if let Some(plan) = &etcd {
        let set = evidence.set(&plan.snapshot.set);
        if let Some(set) = set {
            let at = set.manifest.made_at;
            findings.push(Finding::lost(format!(
                "{AFTER_THE_SNAPSHOT} revision {} ({at}, {})",
                plan.snapshot.revision, plan.snapshot.set
            )));
            let members = set.manifest.etcd.iter().flat_map(|facts| etcd::compare_members(facts, plan));
            findings.extend(members.map(Finding::refused));
        }
    }
    certificates::check(evidence, &mut findings);
    other_nights(evidence, &mut findings);
    findings.push(Finding::missing(NOT_CHECKED));
    let agentless = evidence.settings.inventory.hosts().filter(|host| host.agentless);
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
        source: evidence.source.as_str().into(),
        signed: evidence.signed.as_str().into(),
        remotes: evidence.settings.remotes.iter().map(login).collect(),
        etcd,
        machines,
        findings,
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
    let ids = |sets: Vec<&super::evidence::FoundSet>| -> Lines {
        sets.iter().map(|set| set.manifest.id().to_string()).collect()
    };
    if !rest.is_empty() {
        let summary = ids(rest).summary();
        findings.push(Finding::refused(format!("sets of another night than {}: {summary}", evidence.night)));
    }
    if !nodes.is_empty() {
        findings.push(Finding::lost(format!("older node sets: {}", ids(nodes).summary())));
    }
}
