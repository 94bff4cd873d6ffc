//! The first config of `nightshift init`: it loads, and to the hosts that the inventory lists.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use nightshift_config::first_config;
use nightshift_core::draft::{self, Draft, Guess, Hosts};
use nightshift_core::inventory::Host;
use nightshift_core::role::{Role, Roles};
use nightshift_core::{ansible, draft::DraftError};
use serde_json::Value;
use support::{load_sources, read, repository, sources};

const INVENTORIES: [&str; 7] = [
    "groups.ini",
    "kubespray.ini",
    "kubespray.yaml",
    "kubespray-2.9.ini",
    "order.yaml",
    "openshift-3.ini",
    "openshift-3-single.ini",
];

fn data(name: &str) -> String {
    read(&repository(&format!("tests/data/inventories/{name}")))
}

fn inventory(name: &str) -> Draft {
    draft::of_inventory(&ansible::parse(&data(name)).unwrap())
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn written(draft: &Draft) -> String {
    let zone = Guess::new("Europe/Berlin", "Guess: here.");
    first_config(draft, &zone, "Written by a test.")
}

fn hosts(text: &str, hostname: &str) -> BTreeMap<String, Host> {
    let loaded = load_sources(&sources(text), hostname).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert!(loaded.warnings.is_empty(), "{:?}\n{text}", loaded.warnings);
    loaded.settings.inventory.hosts().map(|host| (host.name.to_string(), host.clone())).collect()
}

/// The lines of a config that are not those of the installed one.
fn new_lines(text: &str) -> Vec<&str> {
    let installed = read(&repository("config/nightshift.toml"));
    let installed: BTreeSet<&str> = installed.lines().collect();
    text.lines().filter(|line| !installed.contains(line)).collect()
}

/// Where a host is reached by the variables that the real `ansible-inventory` prints, stated here once more.
fn address(name: &str, vars: &Value) -> String {
    let usable = |text: &&str| !text.contains(['{', ' ', '[']) && !text.starts_with("127.");
    ["access_ip", "ip", "openshift_ip", "ansible_host", "ansible_ssh_host"]
        .iter()
        .find_map(|variable| vars[variable].as_str().filter(usable))
        .unwrap_or(name)
        .to_owned()
}

#[test]
fn a_config_made_of_an_inventory_loads_to_the_hosts_and_addresses_of_ansible_inventory() {
    for name in INVENTORIES {
        let text = written(&inventory(name));
        assert!(!text.contains("HUNTER2"), "{text}");
        let expected: Value = serde_json::from_str(&data(&format!("{name}.expected.json"))).unwrap();
        let of = |groups: &[&str]| -> BTreeSet<&str> {
            let lists = groups.iter().filter_map(|group| expected["groups"][group].as_array());
            lists.flatten().filter_map(Value::as_str).collect()
        };
        let masters = of(&["masters", "new_masters", "kube_control_plane", "kube-master"]);
        let mut etcd = of(&["etcd"]);
        if etcd.is_empty() {
            etcd.clone_from(&masters);
        }
        let mut nodes = of(&["nodes", "new_nodes", "kube_node", "kube-node"]);
        nodes.extend(of(&["kube_control_plane", "kube-master"]));
        let found = hosts(&text, masters.first().unwrap());
        let all: BTreeSet<&str> = [&masters, &etcd, &nodes].into_iter().flatten().copied().collect();
        assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), all, "{name}");
        for (host, found) in &found {
            let roles: Roles = [(Role::Master, &masters), (Role::Etcd, &etcd), (Role::Node, &nodes)]
                .into_iter()
                .filter_map(|(role, hosts)| hosts.contains(host.as_str()).then_some(role))
                .collect();
            let vars = &expected["hosts"][host];
            let is_forwarded = vars["ansible_host"].as_str() == Some("127.0.0.1");
            let port = vars["ansible_port"].as_str().or(vars["ansible_ssh_port"].as_str());
            let port = port.filter(|_| !is_forwarded).map_or(22, |port| port.parse().unwrap());
            let expected = (roles, address(host, vars), port, "nightshift-peer");
            assert_eq!(
                (found.roles, found.address.clone(), found.port, found.user.as_str()),
                expected,
                "{name}: {host}"
            );
        }
    }
}

#[test]
fn hosts_are_folded_to_ranges_and_every_guess_has_its_origin() {
    let text = written(&inventory("openshift-3.ini"));
    let lines = new_lines(&text);
    for line in [
        "# From `openshift_clusterid` of the inventory.",
        "name = \"blue\"",
        "# From the group masters of the inventory.",
        "masters = [\"master[1:3].blue.example.com\"]",
        "# From the groups nodes, new_nodes of the inventory.",
        "# Being added to the cluster, by the group new_nodes: node[13:14].blue.example.com.",
        "    \"node[01:14].blue.example.com\",",
        "    \"infra[a:c].blue.example.com\",",
        "[host.\"master3.blue.example.com\"]",
        "address = \"10.1.0.13\" # openshift_ip",
        "port = 2222 # ansible_port",
        "address = \"old.blue.example.com\" # ansible_ssh_host",
        "#   lb (lb.blue.example.com): a load balancer: its configuration is that of the inventory",
        "#   glusterfs (node[01:03].blue.example.com): storage: volumes are not backed up",
        "# Ansible logs in as cloud-user, root, and becomes root. nightshift does not: masters log in as the user that its package creates.",
        "time-zone = \"Europe/Berlin\"",
    ] {
        assert!(lines.iter().any(|new| new.starts_with(line)), "{line}\n{lines:#?}");
    }
    let single = written(&inventory("openshift-3-single.ini"));
    for line in [
        "name = \"example.com\"",
        "# Guess: the masters, because the inventory has no hosts in the group etcd. With etcd elsewhere, list its hosts.",
        "# From `ansible_ssh_port` of every host.",
        "port = 2022",
        "#   in no group: bastion.example.com",
    ] {
        assert!(new_lines(&single).contains(&line), "{line}\n{:#?}", new_lines(&single));
    }
    let vagrant = written(&inventory("kubespray-2.9.ini"));
    let unused = "# `ansible_host` is not used, because it is an address of the loopback interface: k8s-3.";
    assert!(new_lines(&vagrant).contains(&unused), "{:#?}", new_lines(&vagrant));
    assert!(
        vagrant.contains("# Guess: the masters are nodes too") || !vagrant.contains("worker"),
        "{vagrant}"
    );
}

#[test]
fn the_nodes_of_an_api_server_become_hosts_by_their_labels_and_internal_addresses() {
    let text = written(&draft::of_nodes(&data("nodes-kubeadm.json")).unwrap());
    assert!(!text.contains("HUNTER2"), "{text}");
    let found = hosts(&text, "cp1");
    assert_eq!(found.len(), 8);
    assert_eq!(found["cp2"].roles, [Role::Master, Role::Etcd, Role::Node].into_iter().collect());
    assert_eq!(found["worker03"].roles, [Role::Node].into_iter().collect());
    assert_eq!((found["worker03"].address.as_str(), found["cp1"].address.as_str()), ("10.0.1.3", "10.0.0.1"));
    assert!(
        new_lines(&text).contains(&"nodes = [\"cp[1:3]\", \"worker[01:05]\"]"),
        "{:#?}",
        new_lines(&text)
    );
    let text = written(&draft::of_nodes(&data("nodes-openshift-3.json")).unwrap());
    let found = hosts(&text, "master1.example.com");
    assert_eq!(found["infra1.example.com"].roles, [Role::Node].into_iter().collect());
    assert_eq!(
        found["master3.example.com"].roles,
        [Role::Master, Role::Etcd, Role::Node].into_iter().collect()
    );
    assert_eq!(found["node1.example.com"].address, "node1.example.com");
}

#[test]
fn this_host_alone_has_the_roles_of_what_is_installed_on_it() {
    let has = |present: &'static [&str]| move |path: &str| present.contains(&path);
    let kubeadm = has(&["/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/kubernetes/kubelet.conf"]);
    let draft = draft::of_this_host(kubeadm, Some("the member at https://10.0.0.1:2379".into())).unwrap();
    let text = written(&draft);
    let found = hosts(&text, "cp1");
    assert_eq!(found["cp1"].roles, [Role::Master, Role::Etcd, Role::Node].into_iter().collect());
    let comment = "# Guess: etcd, because of the member at https://10.0.0.1:2379.";
    assert!(new_lines(&text).contains(&comment), "{:#?}", new_lines(&text));
    let worker = draft::of_this_host(has(&["/etc/sysconfig/atomic-openshift-node"]), None).unwrap();
    assert!(
        matches!(worker.hosts, Hosts::This(ref roles) if roles.value.to_string() == "node"),
        "{worker:?}"
    );
    let nothing = draft::of_this_host(has(&[]), None).unwrap_err();
    assert!(matches!(nothing, DraftError::NothingRuns(_)), "{nothing}");
}

#[test]
fn what_an_inventory_writes_into_a_comment_stays_a_comment() {
    let json = serde_json::json!({
        "masters": {"hosts": ["m1.example.com"]},
        "etcd\n[files]\nmaster = []\n#": {"hosts": ["x\u{1b}[2J\n[files]\netcd = []"]},
        "_meta": {"hostvars": {"m1.example.com": {
            "ansible_user": "a\n[vault]\npath = \"/\"", "ansible_host": "10.0.0.1\"\n[paths]\n", "cluster_name": "a\"b\n",
        }}},
    });
    let draft = draft::of_inventory(&ansible::parse(&json.to_string()).unwrap()).unwrap();
    let text = written(&draft);
    let found = hosts(&text, "m1.example.com");
    assert_eq!(found["m1.example.com"].address, "m1.example.com");
    for line in new_lines(&text) {
        assert!(
            !line.contains('\u{1b}')
                && !["[files]", "[vault]", "[paths]"].iter().any(|section| line.starts_with(section)),
            "{line}"
        );
    }
}

#[test]
fn an_inventory_without_hosts_of_a_cluster_and_a_name_that_no_config_can_have_are_refused() {
    let error = |text: &str| draft::of_inventory(&ansible::parse(text).unwrap()).unwrap_err().to_string();
    let none = error("[web]\na.example.com\n[db]\nb.example.com\n");
    assert!(
        none.contains("expected the groups of openshift-ansible") && none.contains("it has db, web"),
        "{none}"
    );
    let no_masters = error("[etcd]\ne1\n[kube_node]\nn1\n");
    assert!(
        no_masters.starts_with("no host is in masters, ") && no_masters.contains("[hosts]"),
        "{no_masters}"
    );
    let same = error("[masters]\nM1 ansible_host=10.0.0.1\nm1 ansible_host=10.0.0.2\n");
    assert!(same.contains("the hosts M1 and m1 differ only in case"), "{same}");
    let odd = error("[masters]\nfe80::1\n");
    assert!(odd.contains("the host fe80::1") && odd.contains("ansible_host"), "{odd}");
    for (text, problem) in [
        ("{\"kind\": \"List\", \"items\": []}", "it lists no nodes"),
        (
            "{\"kind\": \"List\", \"items\": [{\"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}]}",
            "it lists no nodes",
        ),
        (
            "{\"kind\": \"List\", \"items\": [{\"kind\": \"Node\", \"metadata\": {\"name\": \"a\"}}]}",
            "no node has the label node-role.kubernetes.io/control-plane",
        ),
        ("{\"kind\":\n", "line 2: the JSON ends too early"),
        ("[masters]\n", "line 1: invalid JSON"),
    ] {
        let error = draft::of_nodes(text).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
