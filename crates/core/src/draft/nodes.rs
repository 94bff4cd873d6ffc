//! The hosts of a cluster as its API server lists them: `kubectl get nodes -o json`, `oc get nodes -o json`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::inventory::MAX_HOSTS;
use crate::name::HostName;
use crate::text::Text;

use super::address::is_address;
use super::{Cluster, Draft, DraftError, Guess, Hosts, Table, cluster_of};

const ROLE: &str = "node-role.kubernetes.io/";
/// kubeadm today and before 1.24, OpenShift 3.9 and later; RKE.
const MASTER: [&str; 3] = ["control-plane", "master", "controlplane"];

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    items: Vec<Node>,
    metadata: Option<Metadata>,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    addresses: Vec<Address>,
    node_info: NodeInfo,
}

#[derive(Deserialize)]
struct Address {
    r#type: String,
    address: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct NodeInfo {
    kubelet_version: String,
}

pub fn of_nodes(json: &str) -> Result<Draft, DraftError> {
    let mut hosts = Cluster::default();
    let mut by_label: [BTreeSet<&str>; 2] = Default::default();
    let mut distributions = BTreeSet::new();
    for node in read(json)? {
        let name: HostName = node.metadata.name.parse().map_err(|problem| DraftError::Name {
            host: Text::new(&node.metadata.name).as_str().to_owned(),
            problem,
            remedy: "its object's status",
        })?;
        hosts.nodes.value.insert(name.clone());
        let label = |role: &&str| node.has(role);
        if let Some(role) = MASTER.into_iter().find(|role| label(role)) {
            by_label[0].insert(role);
            hosts.masters.value.insert(name.clone());
        }
        if node.has("etcd") {
            by_label[1].insert("etcd");
            hosts.etcd.value.insert(name.clone());
        }
        let addresses = node.status.addresses.iter();
        let internal =
            addresses.filter(|address| address.r#type == "InternalIP" && is_address(&address.address));
        if let Some(Address { address, .. }) = internal.take(1).next()
            && address != name.as_str()
        {
            let address = Some((address.clone(), "InternalIP"));
            hosts.tables.push(Table { name, address, port: None });
        }
        let version = &node.status.node_info.kubelet_version;
        distributions
            .extend(["k3s", "rke2"].into_iter().filter(|name| version.contains(&format!("+{name}"))));
    }
    hosts.nodes.comments.push("Every node that the API server lists.".to_owned());
    let [of_masters, of_etcd] = by_label.map(|roles| {
        let labels: Vec<_> = roles.iter().map(|role| format!("{ROLE}{role}")).collect();
        format!("The nodes with the label {}.", labels.join(" or "))
    });
    if hosts.masters.value.is_empty() {
        return Err(DraftError::NoMasters(
            format!("no node has the label {ROLE}control-plane or {ROLE}master"),
            "label the masters or, if they are not nodes, list the hosts in [hosts] by hand",
        ));
    }
    hosts.masters.comments.push(of_masters);
    if hosts.etcd.value.is_empty() {
        hosts.etcd = Guess::new(
            hosts.masters.value.clone(),
            "Guess: the masters, because the API server does not list the members of etcd. With etcd elsewhere, list its hosts.",
        );
    } else {
        hosts.etcd.comments.push(of_etcd);
    }
    for name in distributions {
        hosts.notes.push(format!(
            "Nodes run {name}: their etcd is backed up, their files and their restore are not supported."
        ));
    }
    Ok(Draft { cluster: cluster_of(&hosts), hosts: Hosts::Cluster(Box::new(hosts)) })
}

impl Node {
    /// A role by its label; OpenShift gives it the value `true`, kubeadm none. `kubernetes.io/role` is older.
    fn has(&self, role: &str) -> bool {
        let labels = &self.metadata.labels;
        labels.get(&format!("{ROLE}{role}")).is_some_and(|value| value != "false")
            || labels.get("kubernetes.io/role").is_some_and(|value| value == role)
    }
}

fn read(json: &str) -> Result<Vec<Node>, DraftError> {
    let expected = "expected the output of `kubectl get nodes -o json`";
    let object: Object = serde_json::from_str(json.trim_start_matches('\u{feff}')).map_err(|error| {
        // The parser's own message may quote a value.
        DraftError::NotNodes(format!(
            "line {}: {}; {expected}",
            error.line(),
            match error.classify() {
                serde_json::error::Category::Eof => "the JSON ends too early",
                serde_json::error::Category::Data => "this is not a list of nodes",
                _ => "invalid JSON",
            }
        ))
    })?;
    let nodes = match (object.kind.as_str(), object.metadata) {
        ("Node", Some(metadata)) => {
            vec![Node { kind: object.kind, metadata, status: object.status.unwrap_or_default() }]
        }
        _ => object.items,
    };
    if nodes.is_empty() || nodes.iter().any(|node| !["", "Node"].contains(&node.kind.as_str())) {
        return Err(DraftError::NotNodes(format!("it lists no nodes; {expected}")));
    }
    if nodes.len() > MAX_HOSTS {
        return Err(DraftError::NotNodes(format!("it lists more than {MAX_HOSTS} nodes")));
    }
    Ok(nodes)
}
