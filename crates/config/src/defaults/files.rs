//! The default lists of files: those needed to rebuild a host of OpenShift 3 or of kubeadm.
//!
//! *Required* is only what every host of a role has, with any options of its installer. Everything else is optional; a file that the
//! previous set contained and that is gone is in the manifest's `vanished`.

use std::path::Path;

use nightshift_core::role::Role;
use nightshift_core::settings::{FileLists, FileRule};

use super::ETCD_CONF;

/// The default files of a role.
pub(crate) fn files(role: Role, config: &Path) -> FileLists {
    let list = |first: Vec<FileRule>| [first, host(), own(config)].concat();
    let (services, static_pods, kubeadm) = match role {
        Role::Master => (master(), master(), kubeadm_master()),
        Role::Etcd => (etcd_service(), etcd_pod(), kubeadm_etcd()),
        Role::Node => (node(), node_with_pods(), kubeadm_node()),
    };
    FileLists { services: list(services), static_pods: list(static_pods), kubeadm: list(kubeadm) }
}

/// nightshift's own config, without its keys: every set contains it.
pub(crate) fn own(config: &Path) -> Vec<FileRule> {
    let within = |name: &str| optional(&config.join(name).display().to_string());
    vec![within("nightshift.toml"), within("conf.d/")]
}

/// What makes a host the one that it is, whatever runs on it: every set contains it, because a host may have only one role.
fn host() -> Vec<FileRule> {
    const FIREWALL: [&str; 7] = [
        "/etc/sysconfig/iptables",
        "/etc/sysconfig/ip6tables",
        "/etc/iptables/",
        "/etc/sysconfig/nftables.conf",
        "/etc/nftables.conf",
        "/etc/nftables/",
        "/etc/firewalld/",
    ];
    const CONTAINERS: [&str; 6] = [
        "/etc/sysconfig/docker",
        "/etc/sysconfig/docker-*",
        "/etc/docker/daemon.json",
        "/etc/docker/certs.d/",
        "/etc/containers/",
        "/etc/cni/",
    ];
    const NETWORK: [&str; 3] = ["/etc/sysconfig/flanneld", "/etc/dnsmasq.conf", "/etc/dnsmasq.d/"];
    const TRUST: [&str; 2] = ["/etc/pki/ca-trust/source/anchors/", "/usr/local/share/ca-certificates/"];
    const REPOSITORIES: [&str; 3] =
        ["/etc/yum.repos.d/", "/etc/apt/sources.list", "/etc/apt/sources.list.d/"];
    const CRON: [&str; 4] =
        ["/etc/crontab", "/etc/cron.d/", "/var/spool/cron/root", "/var/spool/cron/crontabs/root"];
    const DROP_INS: [&str; 1] = ["/etc/systemd/system/nightshift*.d/"];
    let printed = [
        // As output, because a restore must not put it back.
        command(&["cat", "/etc/os-release"], "os-release"),
        command(&["rpm", "-qa"], "packages.txt"),
        command(&["dpkg-query", "-W"], "packages-dpkg.txt"),
    ];
    [&FIREWALL[..], &CONTAINERS, &NETWORK, &TRUST, &REPOSITORIES, &CRON, &DROP_INS]
        .concat()
        .into_iter()
        .map(optional)
        .chain(printed)
        .collect()
}

/// The same for services and static pods: the differing files are below /etc/origin, which is collected as a whole.
fn master() -> Vec<FileRule> {
    const REQUIRED: [&str; 4] = ["master-config.yaml", "ca.crt", "ca.key", "serviceaccounts.private.key"];
    const OPTIONAL: [&str; 4] =
        ["/etc/origin/", "/etc/sysconfig/atomic-*", "/etc/sysconfig/origin-*", "/etc/ansible/"];
    let required_files = REQUIRED.map(|name| required(&format!("/etc/origin/master/{name}")));
    required_files.into_iter().chain(OPTIONAL.map(optional)).collect()
}

const ETCD_CERTIFICATES: [&str; 5] = ["ca.crt", "peer.crt", "peer.key", "server.crt", "server.key"];

fn etcd_service() -> Vec<FileRule> {
    const UNITS: [&str; 4] = [
        "/etc/systemd/system/etcd.service",
        "/etc/systemd/system/etcd.service.d/",
        "/etc/systemd/system/etcd_container.service",
        "/etc/systemd/system/etcd_container.service.d/",
    ];
    [vec![required(ETCD_CONF)], UNITS.map(optional).to_vec(), etcd_files()].concat()
}

fn etcd_pod() -> Vec<FileRule> {
    [vec![required("/etc/origin/node/pods/etcd.yaml"), optional(ETCD_CONF)], etcd_files()].concat()
}

fn etcd_files() -> Vec<FileRule> {
    let certificates = ETCD_CERTIFICATES.map(|name| required(&format!("/etc/etcd/{name}")));
    certificates.into_iter().chain([optional("/etc/etcd/")]).collect()
}

/// `atomic-openshift-node` on OpenShift, `origin-node` on OKD.
const NODE_SERVICE: &str = "/etc/sysconfig/*-node";
const NODE_FILES: [&str; 2] = ["/etc/origin/node/", "/etc/origin/cloudprovider/"];

fn node() -> Vec<FileRule> {
    let config = [required("/etc/origin/node/node-config.yaml"), optional(NODE_SERVICE)];
    config.into_iter().chain(NODE_FILES.map(optional)).collect()
}

fn node_with_pods() -> Vec<FileRule> {
    // There node-config.yaml is generated from the config map that BOOTSTRAP_CONFIG_NAME in this file names.
    let config = [required(NODE_SERVICE), optional("/etc/origin/node/node-config.yaml")];
    config.into_iter().chain(NODE_FILES.map(optional)).collect()
}

/// With a CA of its own outside the cluster, kubeadm has no `ca.key`.
fn kubeadm_master() -> Vec<FileRule> {
    const REQUIRED: [&str; 3] = ["manifests/kube-apiserver.yaml", "pki/ca.crt", "pki/sa.key"];
    let required_files = REQUIRED.map(|name| required(&format!("/etc/kubernetes/{name}")));
    let further = [optional("/etc/kubernetes/"), optional("/etc/ansible/")];
    required_files.into_iter().chain(further).chain(KUBELET.map(optional)).collect()
}

fn kubeadm_etcd() -> Vec<FileRule> {
    let certificates = ETCD_CERTIFICATES.map(|name| required(&format!("/etc/kubernetes/pki/etcd/{name}")));
    let manifest = [required("/etc/kubernetes/manifests/etcd.yaml")];
    manifest
        .into_iter()
        .chain(certificates)
        .chain([optional("/etc/kubernetes/")])
        .chain(KUBELET.map(optional))
        .collect()
}

fn kubeadm_node() -> Vec<FileRule> {
    const OPTIONAL: [&str; 2] = ["/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/manifests/"];
    let first = [required("/etc/kubernetes/kubelet.conf")];
    first.into_iter().chain(OPTIONAL.map(optional)).chain(KUBELET.map(optional)).collect()
}

/// The kubelet of kubeadm, and the container runtime that it uses.
const KUBELET: [&str; 8] = [
    "/var/lib/kubelet/config.yaml",
    "/var/lib/kubelet/kubeadm-flags.env",
    "/var/lib/kubelet/pki/",
    "/etc/default/kubelet",
    "/etc/sysconfig/kubelet",
    "/etc/systemd/system/kubelet.service.d/",
    "/etc/containerd/",
    "/etc/crio/",
];

fn required(path: &str) -> FileRule {
    FileRule::Path { path: path.to_owned(), alias: None, optional: false }
}

fn optional(path: &str) -> FileRule {
    FileRule::Path { path: path.to_owned(), alias: None, optional: true }
}

/// The output of a program that not every host has.
fn command(words: &[&str], alias: &str) -> FileRule {
    let argv = words.iter().map(|word| (*word).to_owned()).collect();
    FileRule::Command { argv, alias: alias.to_owned(), optional: true }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(rules: &[FileRule], wanted: impl Fn(bool) -> bool) -> Vec<&str> {
        let names = rules.iter().filter_map(|rule| match rule {
            FileRule::Path { path, optional, .. } => wanted(*optional).then_some(path.as_str()),
            FileRule::Command { alias, optional, .. } => wanted(*optional).then_some(alias.as_str()),
        });
        names.collect()
    }

    fn required_of(role: Role) -> [Vec<String>; 3] {
        let FileLists { services, static_pods, kubeadm } = files(role, Path::new("/etc/nightshift"));
        [services, static_pods, kubeadm].map(|rules| {
            let required = names(&rules, |optional| !optional).into_iter();
            required.map(|path| path.rsplit('/').take(2).collect::<Vec<_>>().join("<")).collect()
        })
    }

    #[test]
    fn every_set_says_what_makes_its_host_the_one_that_it_is_and_names_no_path_twice() {
        for role in [Role::Master, Role::Etcd, Role::Node] {
            let FileLists { services, static_pods, kubeadm } = files(role, Path::new("/etc/nightshift"));
            for rules in [services, static_pods, kubeadm] {
                let all = names(&rules, |_| true);
                for path in [
                    "os-release",
                    "/etc/firewalld/",
                    "/etc/nftables.conf",
                    "/etc/yum.repos.d/",
                    "/etc/apt/sources.list.d/",
                    "/var/spool/cron/root",
                    "/etc/docker/daemon.json",
                    "/etc/containers/",
                    "/etc/systemd/system/nightshift*.d/",
                    "packages.txt",
                    "packages-dpkg.txt",
                    "/etc/nightshift/nightshift.toml",
                ] {
                    assert!(all.contains(&path), "{role}: {path}");
                }
                assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{role}: {all:?}");
            }
        }
    }

    #[test]
    fn only_what_every_host_of_a_role_has_is_required() {
        let certificates = |directory: &str| ETCD_CERTIFICATES.map(|name| format!("{name}<{directory}"));
        let with = |first: &str, directory| [&[first.to_owned()][..], &certificates(directory)].concat();
        let master = ["master-config.yaml", "ca.crt", "ca.key", "serviceaccounts.private.key"];
        let master = master.map(|name| format!("{name}<master")).to_vec();
        let kubeadm =
            ["kube-apiserver.yaml<manifests", "ca.crt<pki", "sa.key<pki"].map(str::to_owned).to_vec();
        assert_eq!(required_of(Role::Master), [master.clone(), master, kubeadm]);
        assert_eq!(
            required_of(Role::Etcd),
            [
                with("etcd.conf<etcd", "etcd"),
                with("etcd.yaml<pods", "etcd"),
                with("etcd.yaml<manifests", "etcd")
            ]
        );
        let node = ["node-config.yaml<node", "*-node<sysconfig", "kubelet.conf<kubernetes"];
        assert_eq!(required_of(Role::Node), node.map(|name| vec![name.to_owned()]));
    }

    #[test]
    fn with_kubeadm_all_of_its_configuration_is_in_the_sets_of_masters_and_etcd_hosts() {
        for role in [Role::Master, Role::Etcd] {
            let FileLists { kubeadm, .. } = files(role, Path::new("/etc/nightshift"));
            for path in ["/etc/kubernetes/", "/var/lib/kubelet/config.yaml", "/var/lib/kubelet/pki/"] {
                assert!(names(&kubeadm, |optional| optional).contains(&path), "{role}: {path}");
            }
        }
    }
}
