//! Etcd hosts whose snapshots are of one member: an endpoint belongs to a proxy or a balancer, and another member has no snapshot.

use std::collections::{BTreeMap, BTreeSet};

use nightshift_archive::StoredSet;

/// Names them, with the member.
pub fn reasons(sets: &[StoredSet]) -> Vec<String> {
    let mut hosts_of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for set in sets {
        if let Some(etcd) = &set.manifest.etcd {
            hosts_of.entry(etcd.member_id.as_str()).or_default().insert(set.id.host.as_str());
        }
    }
    let shared = hosts_of.into_iter().filter(|(_, hosts)| hosts.len() > 1);
    shared.map(|(member, hosts)| reason(member, &hosts)).collect()
}

fn reason(member: &str, hosts: &BTreeSet<&str>) -> String {
    let hosts: Vec<&str> = hosts.iter().copied().collect();
    format!(
        "{} have snapshots of one member ({member}), as behind a proxy or a balancer: set `endpoint` in [etcd] to each host's own member",
        hosts.join(" and ")
    )
}
