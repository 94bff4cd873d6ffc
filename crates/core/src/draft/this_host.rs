//! The roles of one host, by what is installed on it.

use crate::role::{Role, Roles};

use super::{Draft, DraftError, Guess, Hosts, unnamed};

/// Files that a host with a role has: of OpenShift 3, and of kubeadm.
const FILES: [(Role, &str); 6] = [
    (Role::Master, "/etc/origin/master/master-config.yaml"),
    (Role::Master, "/etc/kubernetes/manifests/kube-apiserver.yaml"),
    (Role::Node, "/etc/origin/node/node-config.yaml"),
    (Role::Node, "/etc/sysconfig/origin-node"),
    (Role::Node, "/etc/sysconfig/atomic-openshift-node"),
    (Role::Node, "/etc/kubernetes/kubelet.conf"),
];
/// Of distributions whose files are not known.
const UNSUPPORTED: [(&str, &str); 2] = [("k3s", "/var/lib/rancher/k3s"), ("RKE2", "/var/lib/rancher/rke2")];

/// `etcd` describes the member of this host, if there is one, or says why it cannot be described.
pub fn of_this_host(has: impl Fn(&str) -> bool, etcd: Option<String>) -> Result<Draft, DraftError> {
    let mut roles = Guess { value: Roles::NONE, comments: Vec::new() };
    for (role, path) in FILES {
        if has(path) {
            if !roles.value.has(role) {
                roles.comments.push(format!("Guess: {role}, because {path} exists."));
            }
            roles.value = roles.value.with(role);
        }
    }
    if let Some(etcd) = etcd {
        roles.value = roles.value.with(Role::Etcd);
        roles.comments.push(format!("Guess: etcd, because of {etcd}."));
    }
    if roles.value.is_empty() {
        let looked = FILES.map(|(_, path)| path).join(", ");
        return Err(DraftError::NothingRuns(format!(
            "this host runs no master, etcd member or node that nightshift knows: none of {looked} and no configuration of etcd exists; \
             set `[this-host] roles` in the config by hand"
        )));
    }
    for (name, _) in UNSUPPORTED.into_iter().filter(|(_, path)| has(path)) {
        roles
            .comments
            .push(format!("{name}: its etcd is backed up; its files and its restore are not supported."));
    }
    Ok(Draft { cluster: unnamed(), hosts: Hosts::This(roles) })
}
