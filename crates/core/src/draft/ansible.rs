//! The roles of the hosts of an Ansible inventory, by the group names of openshift-ansible and kubespray.

use std::collections::{BTreeMap, BTreeSet};

use crate::ansible::{Inventory, Value, Vars, is_built_in};
use crate::name::{ClusterName, HostName};
use crate::text::{Text, first_of};

use super::address::Reached;
use super::{Cluster, Draft, DraftError, Guess, Hosts, cluster_of, shown};

/// Of openshift-ansible.
const OPENSHIFT: [&[&str]; 2] = [&["masters", "new_masters"], &["nodes", "new_nodes"]];
/// Of kubespray, today and before 2.16.
const KUBESPRAY: [&[&str]; 2] = [
    &["kube_control_plane", "kube-control-plane", "kube_master", "kube-master"],
    &["kube_node", "kube-node"],
];
/// Of both.
const ETCD: [&str; 2] = ["etcd", "new_etcd"];

/// Groups of openshift-ansible and kubespray whose hosts are not backed up for being in them, and why.
const OTHERS: [(&str, &str); 11] = [
    ("lb", "a load balancer: its configuration is that of the inventory"),
    ("nfs", "storage: volumes are not backed up"),
    ("glusterfs", "storage: volumes are not backed up"),
    ("glusterfs_registry", "storage: volumes are not backed up"),
    ("calico_rr", "route reflectors: Calico's configuration is in the cluster"),
    ("calico-rr", "route reflectors: Calico's configuration is in the cluster"),
    ("bastion", "a jump host: not part of the cluster"),
    ("no-floating", "a group of addresses: it has no role"),
    ("no_floating", "a group of addresses: it has no role"),
    ("grafana", "monitoring: not part of the control plane"),
    ("prometheus", "monitoring: not part of the control plane"),
];
/// The maximum number of groups that are listed as not backed up.
const MAX_LISTED: usize = 40;

pub fn of_inventory(inventory: &Inventory) -> Result<Draft, DraftError> {
    let [of_openshift, of_kubespray] = [OPENSHIFT, KUBESPRAY];
    let masters = [of_openshift[0], of_kubespray[0]].concat();
    let nodes = [of_openshift[1], of_kubespray[1]].concat();
    let mut hosts = Cluster {
        masters: group(inventory, &masters)?,
        etcd: group(inventory, &ETCD)?,
        nodes: group(inventory, &nodes)?,
        ..Cluster::default()
    };
    if hosts.all().is_empty() {
        let groups: Vec<_> = inventory.groups().map(|name| Text::new(name).as_str().to_owned()).collect();
        let groups = if groups.is_empty() { "no groups".to_owned() } else { first_of(&groups, ", ") };
        return Err(DraftError::NoRole(groups));
    }
    if hosts.masters.value.is_empty() {
        let none = format!("no host is in {}", masters.join(", "));
        return Err(DraftError::NoMasters(
            none,
            "add one of these groups, or list the hosts in [hosts] by hand",
        ));
    }
    if hosts.etcd.value.is_empty() {
        let comment = "Guess: the masters, because the inventory has no hosts in the group etcd. With etcd elsewhere, list its hosts.";
        hosts.etcd = Guess::new(hosts.masters.value.clone(), comment);
    }
    // Every host of a control plane that kubeadm installs has a kubelet.
    let kubeadm: BTreeSet<HostName> = group(inventory, of_kubespray[0])?.value;
    if !kubeadm.is_subset(&hosts.nodes.value) {
        hosts.nodes.value.extend(kubeadm);
        hosts.nodes.comments.push("Guess: the masters are nodes too, because they run a kubelet.".to_owned());
    }
    // Their names there, which may be in upper case.
    let originals = originals(inventory, &hosts)?;
    let vars = |name: &HostName| originals.get(name.as_str()).map(|host| inventory.vars(host));
    let mut reached = Reached::default();
    for name in hosts.all() {
        reached.add(name, vars(name).unwrap_or(&Vars::default()));
    }
    let named = hosts.masters.value.iter().chain(&hosts.etcd.value).filter_map(vars).find_map(cluster_named);
    (hosts.tables, hosts.port, hosts.logins) = reached.end();
    hosts.notes = not_backed_up(inventory, &hosts);
    let cluster = named.unwrap_or_else(|| cluster_of(&hosts));
    Ok(Draft { cluster, hosts: Hosts::Cluster(Box::new(hosts)) })
}

/// By the names in the config, which are in lower case.
fn originals<'i>(inventory: &'i Inventory, hosts: &Cluster) -> Result<BTreeMap<String, &'i str>, DraftError> {
    let used = hosts.all();
    let mut originals = BTreeMap::new();
    for host in inventory.hosts() {
        let name = host.to_ascii_lowercase();
        if let Some(other) = originals.insert(name.clone(), host)
            && used.iter().any(|used| used.as_str() == name)
        {
            let shown = |name: &str| Text::new(name).as_str().to_owned();
            return Err(DraftError::SameName(shown(other), shown(host)));
        }
    }
    Ok(originals)
}

/// The hosts of these groups, and from which of them they are.
fn group(inventory: &Inventory, names: &[&str]) -> Result<Guess<BTreeSet<HostName>>, DraftError> {
    let mut found = Guess::<BTreeSet<HostName>>::default();
    let mut used = Vec::new();
    for name in names {
        let hosts = inventory.hosts_of(name);
        if hosts.is_empty() {
            continue;
        }
        used.push(*name);
        if name.starts_with("new_") {
            let hosts = shown(hosts.iter().copied());
            found.comments.push(format!("Being added to the cluster, by the group {name}: {hosts}."));
        }
        for host in hosts {
            found.value.insert(host.parse().map_err(|problem| DraftError::Name {
                host: Text::new(host).as_str().to_owned(),
                problem,
                remedy: "ansible_host",
            })?);
        }
    }
    match &used[..] {
        [] => {}
        [one] => found.comments.insert(0, format!("From the group {one} of the inventory.")),
        several => {
            found.comments.insert(0, format!("From the groups {} of the inventory.", several.join(", ")));
        }
    }
    Ok(found)
}

/// The name that the inventory gives the cluster of a host.
fn cluster_named(vars: &Vars) -> Option<Guess<String>> {
    ["openshift_clusterid", "cluster_name"].into_iter().find_map(|variable| {
        let name: ClusterName = vars.get(variable).and_then(Value::text)?.parse().ok()?;
        Some(Guess::new(name.to_string(), format!("From `{variable}` of the inventory.")))
    })
}

/// Comments for the hosts that the config does not list, and for the groups with data of their own, with the reason.
fn not_backed_up(inventory: &Inventory, hosts: &Cluster) -> Vec<String> {
    let listed: BTreeSet<&str> = hosts.all().into_iter().map(HostName::as_str).collect();
    let mut lines = Vec::new();
    let mut more = 0;
    let mut named: BTreeSet<&str> = BTreeSet::new();
    // The known ones first: their hosts need not be in a second list.
    let known = OTHERS.iter().map(|(name, why)| (*name, Some(*why)));
    let is_known = |name: &&str| is_built_in(name) || OTHERS.iter().any(|(known, _)| known == name);
    let unknown = inventory.groups().filter(|name| !is_known(name));
    for (name, why) in known.chain(unknown.map(|name| (name, None))) {
        let mut members = if why.is_some() { inventory.hosts_of(name) } else { inventory.listed_in(name) };
        if why.is_none() {
            members
                .retain(|host| !listed.contains(host.to_ascii_lowercase().as_str()) && !named.contains(host));
        }
        if members.is_empty() {
            continue;
        }
        named.extend(&members);
        if lines.len() == MAX_LISTED {
            more += 1;
            continue;
        }
        let why = why
            .unwrap_or("none of the groups above; add its hosts to `nodes` if they are nodes of the cluster");
        lines.push(format!("  {} ({}): {why}", Text::new(name).as_str(), shown(members.iter().copied())));
    }
    if more > 0 {
        lines.push(format!("  and {more} more groups"));
    }
    let ungrouped: BTreeSet<&str> = inventory
        .hosts()
        .filter(|host| !listed.contains(host.to_ascii_lowercase().as_str()) && !named.contains(host))
        .collect();
    if !ungrouped.is_empty() {
        lines.push(format!("  in no group: {}", shown(ungrouped)));
    }
    if !lines.is_empty() {
        lines.insert(0, "Groups of the inventory that are not backed up as such:".to_owned());
    }
    lines
}
