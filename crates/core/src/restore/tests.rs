#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

use super::act::{Act, FileKind};
use super::commands::Commands;
use super::evidence::{Evidence, FoundSet};
use super::finding::{Finding, FindingKind};
use super::make::{make, make_part};
use super::page::Page;
use super::pods::PodKind;
use super::scope::Scope;
use super::steps::{Action, Step, groups};
use super::{Plan, etcd};
use crate::digest::Digest;
use crate::etcd_facts::{EtcdFacts, EtcdService, RunsAs};
use crate::fixtures::{self, etcd_facts, etcd_manifest, host, manifest, settings};
use crate::inventory::{Host, Inventory};
use crate::manifest::{Item, Manifest};
use crate::outcome::Grade;
use crate::role::Role;
use crate::settings::Settings;
use crate::system::{ControlPlane, System};

pub(super) const NIGHT: &str = "2026-11-28";
pub(super) const CONF: &str = "ETCD_NAME=HOST\nETCD_DATA_DIR=/var/lib/etcd/\nETCD_INITIAL_ADVERTISE_PEER_URLS=https://HOST:2380\n\
    ETCD_ADVERTISE_CLIENT_URLS=https://HOST:2379\nETCD_TRUSTED_CA_FILE=/etc/etcd/ca.crt\n\
    ETCD_PEER_CERT_FILE=/etc/etcd/peer.crt\nETCD_PEER_KEY_FILE=/etc/etcd/peer.key\n";

fn file(path: &str, source: &str, content: &str) -> Item {
    fixtures::file(path, source, content.as_bytes())
}

fn set(host: &str, role: &str, items: Vec<Item>) -> FoundSet {
    let id = format!("{host}/{NIGHT}/{role}").parse().unwrap();
    FoundSet { manifest: manifest(&id, Grade::Good, items), grade: Grade::Good, texts: BTreeMap::new() }
}

fn etcd_set(host: &str, revision: i64, conf: &str) -> FoundSet {
    let id = format!("{host}/{NIGHT}/etcd").parse().unwrap();
    let facts = EtcdFacts { revision, snapshot: None, ..etcd_facts() };
    let snapshot = etcd_manifest(&id, Grade::Good, facts);
    let conf = conf.replace("HOST", host);
    let conf_file = file("etc/etcd/etcd.conf", "/etc/etcd/etcd.conf", &conf);
    let tls = ["ca.crt", "peer.crt", "peer.key"].map(|name| {
        let path = format!("etc/etcd/{name}");
        file(&path, &format!("/{path}"), name)
    });
    let items = snapshot.items.iter().cloned().chain([conf_file]).chain(tls).collect();
    let texts = [("etc/etcd/etcd.conf".to_owned(), conf.into_bytes())].into();
    FoundSet { manifest: Manifest { items, ..snapshot }, grade: Grade::Good, texts }
}

/// Three members, a master and a node.
pub(super) fn cluster() -> (Settings, Vec<FoundSet>) {
    let hosts: Vec<Host> = ["e1", "e2", "e3"]
        .map(|name| host(name, Role::Etcd))
        .into_iter()
        .chain([host("m1", Role::Master), host("n1", Role::Node)])
        .collect();
    let mut settings = settings(Path::new("/x"), hosts, Timestamp::UNIX_EPOCH);
    settings.etcd.conf = "/etc/etcd/etcd.conf".into();
    let sets = vec![
        etcd_set("e1", 50, CONF),
        etcd_set("e2", 52, CONF),
        etcd_set("e3", 51, CONF),
        set("m1", "master", vec![file("etc/origin/master/ca.key", "/etc/origin/master/ca.key", "key")]),
        set("n1", "node", vec![file("root_cron", "/var/spool/cron/root", "cron")]),
    ];
    (settings, sets)
}

pub(super) fn evidence(settings: &Settings, sets: Vec<FoundSet>) -> Evidence<'_> {
    Evidence {
        settings,
        night: NIGHT.parse().unwrap(),
        source: "an archive".into(),
        signed: "signed".into(),
        sets,
        survivor: None,
        now: Timestamp::UNIX_EPOCH,
    }
}

pub(super) fn plan(settings: &Settings, sets: Vec<FoundSet>) -> Plan {
    make(&evidence(settings, sets))
}

fn part(only: &str) -> Plan {
    let (settings, mut sets) = cluster();
    for set in &mut sets[..3] {
        let conf = set.texts.get_mut("etc/etcd/etcd.conf").unwrap();
        conf.extend_from_slice(b"ETCD_INITIAL_CLUSTER=x\n");
    }
    make_part(&evidence(&settings, sets), only.parse().unwrap())
}

pub(super) fn refusals(plan: &Plan) -> String {
    plan.refusals().map(|finding| finding.text.as_str()).collect::<Vec<_>>().join("; ")
}

fn steps(plan: &Plan) -> Vec<Step> {
    groups(plan).into_iter().flat_map(|group| group.steps).collect()
}

#[test]
fn all_members_get_the_newest_snapshot_and_one_description_of_the_cluster() {
    let (settings, sets) = cluster();
    let plan = plan(&settings, sets);
    assert_eq!(refusals(&plan), "");
    let etcd = plan.etcd.as_ref().unwrap();
    assert_eq!((etcd.copy.set.to_string().as_str(), etcd.copy.revision), ("e2/2026-11-28/etcd", 52));
    assert_eq!(etcd.initial_cluster(), "e1=https://e1:2380,e2=https://e2:2380,e3=https://e3:2380");
    let member = plan.member(&"e3".parse().unwrap()).unwrap();
    assert_eq!(member.addresses(), ["e3:2379", "e3:2380"]);
    assert_eq!(member.data.path, "/var/lib/etcd/");
    let tls = member.tls.as_ref().unwrap();
    assert_eq!(tls, &["etc/etcd/ca.crt", "etc/etcd/peer.crt", "etc/etcd/peer.key"]);
    let lost = plan.findings.iter().find(|finding| finding.kind == FindingKind::Lost).unwrap();
    assert!(lost.text.contains("after revision 52"), "{}", lost.text);
}

#[test]
fn a_diverged_a_suspicious_and_a_bad_snapshot_are_not_restored_where_a_good_one_exists_and_refused_where_none_does()
 {
    let (settings, sets) = cluster();
    let graded = |grades: [Grade; 3]| {
        let mut sets = sets.clone();
        for (set, grade) in sets.iter_mut().zip(grades) {
            set.grade = grade;
        }
        plan(&settings, sets)
    };
    let good = graded([Grade::Good, Grade::Diverged, Grade::Suspicious]);
    assert_eq!(
        good.etcd.as_ref().unwrap().copy.revision,
        50,
        "the one good snapshot, though others are newer"
    );
    assert_eq!(refusals(&good), "");
    let doubtful = refusals(&graded([Grade::Diverged, Grade::Suspicious, Grade::Suspicious]));
    assert!(doubtful.contains("is suspicious"), "{doubtful}");
    let bad = refusals(&graded([Grade::Bad; 3]));
    assert!(bad.contains("no etcd set of 2026-11-28 has a snapshot"), "{bad}");
}

#[test]
fn a_missing_master_or_member_is_refused_and_a_missing_node_is_lost() {
    let (settings, sets) = cluster();
    let without = |host: &str| {
        let sets = sets.iter().filter(|set| set.manifest.host.as_str() != host).cloned().collect();
        plan(&settings, sets)
    };
    for host in ["m1", "e1"] {
        let refused = refusals(&without(host));
        assert!(refused.contains(&format!("{host}: no ")), "{refused}");
    }
    let node = without("n1");
    assert_eq!(refusals(&node), "");
    assert!(
        node.findings.iter().any(|finding| finding.text.starts_with("n1: no node set")),
        "{:?}",
        node.findings
    );
}

#[test]
fn a_member_whose_log_is_elsewhere_or_that_is_not_described_is_refused() {
    let (settings, sets) = cluster();
    let with = |conf: &str| {
        let mut sets = sets.clone();
        sets[0] = etcd_set("e1", 50, conf);
        refusals(&plan(&settings, sets))
    };
    assert!(with(&format!("{CONF}ETCD_WAL_DIR=/wal\n")).contains("write-ahead log"));
    assert!(
        with(&CONF.replace("peer.key", "gone.key"))
            .contains("names /etc/etcd/gone.key, which is not in its set")
    );
    assert!(with(&CONF.replace("ETCD_DATA_DIR", "ETCD_X")).contains("data directory"));
    assert!(
        with(&CONF.replace("ETCD_NAME=HOST", "ETCD_NAME=e2"))
            .contains("e1 and e2 both have the member name `e2`")
    );
    assert!(with(&CONF.replace("ETCD_INITIAL_ADVERTISE_PEER_URLS", "ETCD_X")).contains("peer URLs"));
}

const ETCD_POD: &str = "spec:\n  containers:\n  - name: etcd\n    command:\n    - etcd\n    - --name=a\n    - --data-dir=/var/lib/etcd\n    \
    - --initial-advertise-peer-urls=https://a:2380\n    - --advertise-client-urls=https://a:2379\n";

/// A master that is a member too, as kubeadm makes it.
fn kubeadm() -> (Settings, Vec<FoundSet>) {
    let all = Host { roles: [Role::Master, Role::Etcd].into_iter().collect(), ..host("a", Role::Master) };
    let mut settings = settings(Path::new("/x"), vec![all], Timestamp::UNIX_EPOCH);
    settings.inventory = Inventory::new(settings.inventory.hosts().cloned());
    let manifests = [
        ("etcd", ETCD_POD.to_owned()),
        ("kube-apiserver", pod("kube-apiserver", "- '--bind-address=::'")),
        ("kube-scheduler", pod("kube-scheduler", "- --secure-port=10259\n    - --bind-address=127.0.0.1")),
        ("kube-controller-manager", pod("kube-controller-manager", "- --bind-address=127.0.0.1") + PROBE),
        ("proxy", pod("haproxy", "- x")),
    ];
    let path = |name: &str| format!("etc/kubernetes/manifests/{name}.yaml");
    let items = || {
        manifests.iter().map(|(name, text)| file(&path(name), &format!("/{}", path(name)), text)).collect()
    };
    let texts: BTreeMap<String, Vec<u8>> =
        manifests.iter().map(|(name, text)| (path(name), text.clone().into_bytes())).collect();
    let mut master = set("a", "master", items());
    master.texts.clone_from(&texts);
    master.manifest.system = Some(System {
        os: "debian 12".into(),
        architecture: "x86_64".into(),
        control_plane: Some(ControlPlane::Kubeadm),
    });
    let mut etcd = etcd_set("a", 50, "");
    etcd.texts = texts;
    etcd.manifest.etcd.as_mut().unwrap().service = Some(EtcdService {
        runs: Some(RunsAs::StaticPod("/etc/kubernetes/manifests/etcd.yaml".into())),
        data: None,
        wal: None,
    });
    (settings, vec![master, etcd])
}

const PROBE: &str =
    "    livenessProbe: { httpGet: { host: 127.0.0.1, path: /healthz, port: 10257, scheme: HTTPS } }\n";

fn pod(container: &str, flags: &str) -> String {
    format!("spec:\n  containers:\n  - name: {container}\n    command:\n    - {container}\n    {flags}\n")
}

#[test]
fn by_hand_the_kubelet_of_static_pods_is_stopped_when_etcd_has_ended() {
    let (settings, sets) = kubeadm();
    let by_hand = Commands(&plan(&settings, sets)).to_string();
    let manifest = "/etc/kubernetes/manifests/etcd.yaml";
    let step =
        by_hand.split("\n\n").find(|step| step.contains(&format!("stop etcd, kubelet, {manifest}"))).unwrap();
    let at = |words: &str| step.find(words).unwrap_or_else(|| panic!("{words}\n{step}"));
    assert!(at(&format!("mv {manifest}")) < at("while ss -Hltn"), "{step}");
    assert!(at("while ss -Hltn") < at("systemctl stop"), "{step}");
}

#[test]
fn static_pods_are_stopped_by_their_manifests_and_started_one_kind_after_the_other() {
    let (settings, sets) = kubeadm();
    let plan = plan(&settings, sets);
    assert_eq!(refusals(&plan), "");
    let pods = plan.machines[0].pods.clone().unwrap();
    let at = |name: &str| format!("/etc/kubernetes/manifests/{name}.yaml");
    assert_eq!(pods.api.manifests, [at("kube-apiserver"), at("proxy")]);
    assert_eq!(pods.api.ports, ["127.0.0.1:6443"]);
    assert_eq!(
        (pods.controllers.manifests, pods.controllers.ports),
        (
            vec![at("kube-scheduler"), at("kube-controller-manager")],
            vec!["127.0.0.1:10259".to_owned(), "127.0.0.1:10257".to_owned()]
        )
    );
    let steps = steps(&plan);
    let position =
        |wanted: &dyn Fn(&Action) -> bool| steps.iter().position(|step| wanted(&step.action)).unwrap();
    let stops = |action: &Action, unit: &str, manifest: &str| {
        let Action::Act(Act::Stop { units, manifests, .. }) = action else { return false };
        units.iter().any(|found| found == unit) || manifests.contains(&at(manifest))
    };
    let kubelet = position(&|action| stops(action, "kubelet.service", "none"));
    for pod in ["kube-scheduler", "kube-apiserver", "etcd"] {
        assert!(
            position(&|action| stops(action, "none", pod)) <= kubelet,
            "a kubelet that is stopped ends no pod: {pod}"
        );
    }
    let starts = |action: &Action| matches!(action, Action::Act(Act::Start { manifests, units }) if manifests == &[at("etcd")] && units.contains(&"kubelet.service".to_owned()));
    let order = [
        position(&|action| *action == Action::PutData),
        position(&starts),
        position(&|action| *action == Action::Compare),
        position(&|action| *action == Action::PutPods(PodKind::Api)),
        position(&|action| *action == Action::PutPods(PodKind::Controllers)),
    ];
    assert!(order.is_sorted(), "{order:?}");
    let held = plan.held(&plan.machines[0]);
    assert!(
        held.contains(&"kubelet.service".to_owned()) && !held.iter().any(|unit| unit.contains("master")),
        "{held:?}"
    );
}

#[test]
fn a_master_whose_manifests_are_missing_and_a_member_of_k3s_are_refused_by_name() {
    let (settings, mut sets) = kubeadm();
    sets[0].manifest.items.retain(|item| !item.path.contains("apiserver"));
    sets[1].manifest.items.retain(|item| !item.path.contains("apiserver"));
    let refused = refusals(&plan(&settings, sets));
    assert!(
        refused.contains("a: its control plane was kubeadm, but its sets have no manifest of the API server"),
        "{refused}"
    );
    let (settings, mut sets) = cluster();
    sets[0] = etcd_set("e1", 50, &CONF.replace("/var/lib/etcd/", "/var/lib/rancher/k3s/server/db/etcd"));
    let refused = refusals(&plan(&settings, sets));
    assert!(refused.contains("e1: it is a member of k3s or RKE2"), "{refused}");
}

#[test]
fn files_of_a_doubtful_master_set_are_refused_and_those_of_a_degraded_one_are_named() {
    let (settings, sets) = cluster();
    let graded = |grade| {
        let mut sets = sets.clone();
        sets[3].grade = grade;
        plan(&settings, sets)
    };
    assert!(refusals(&graded(Grade::Diverged)).contains("m1/2026-11-28/master is diverged"));
    let degraded = graded(Grade::Degraded);
    assert_eq!(refusals(&degraded), "");
    let named = |finding: &Finding| finding.text.starts_with("m1/2026-11-28/master is degraded");
    assert!(degraded.findings.iter().any(named), "{:?}", degraded.findings);
}

#[test]
fn each_path_of_a_machine_is_written_once_at_its_real_place_and_what_has_none_is_not_written() {
    let all: Host = Host {
        roles: [Role::Master, Role::Etcd, Role::Node].into_iter().collect(),
        ..host("a", Role::Master)
    };
    let mut settings = settings(Path::new("/x"), vec![all], Timestamp::UNIX_EPOCH);
    settings.inventory = Inventory::new(settings.inventory.hosts().cloned());
    let same = |content: &str| file("etc/same", "/etc/same", content);
    let sets = vec![
        set("a", "node", vec![same("node"), file("root_cron", "/var/spool/cron/root", "cron")]),
        set("a", "master", vec![same("master"), file("packages.txt", "$ rpm -qa", "a-1")]),
        etcd_set("a", 50, CONF),
        set("b", "node", vec![same("of another host")]),
    ];
    let plan = plan(&settings, sets);
    let found: Vec<(&str, &str)> = plan.machines[0]
        .files
        .iter()
        .map(|planned| (planned.file.path.as_str(), planned.set.role.as_str()))
        .collect();
    let (etcd, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, role)| *role == "etcd");
    assert_eq!((etcd.len(), etcd[0]), (4, ("/etc/etcd/ca.crt", "etcd")), "and no snapshot");
    assert_eq!(others, [("/etc/same", "master"), ("/var/spool/cron/root", "node")]);
    let same = plan.machines[0].files.iter().find(|planned| planned.file.path == "/etc/same").unwrap();
    let FileKind::File { sha256, .. } = same.file.kind else { panic!("not a file") };
    assert_eq!(sha256, Digest::of(b"master"));
}

#[test]
fn everything_is_held_before_the_first_stop_and_what_is_held_is_started_later() {
    let (settings, sets) = cluster();
    let plan = plan(&settings, sets);
    let steps = steps(&plan);
    let is = |step: &Step, name: &str| matches!(&step.action, Action::Act(act) if act.name() == name);
    let first_stop = steps.iter().position(|step| is(step, "stop")).unwrap();
    assert!(steps[..first_stop].iter().all(|step| is(step, "hold")));
    assert_eq!(first_stop, plan.machines.len());
    for machine in &plan.machines {
        let started: Vec<String> = steps
            .iter()
            .filter(|step| step.host == machine.host)
            .filter_map(|step| match &step.action {
                Action::Act(Act::Start { units, .. }) => Some(units.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        for unit in plan.held(machine) {
            assert!(started.contains(&unit), "{}: {unit} is held and never started", machine.host);
        }
    }
    // etcd has its data before it starts, and is compared before anything else starts.
    let position = |wanted: &dyn Fn(&Step) -> bool| steps.iter().rposition(wanted).unwrap();
    let data = position(&|step| step.action == Action::PutData);
    let compare = position(&|step| step.action == Action::Compare);
    let starts: Vec<usize> =
        steps.iter().enumerate().filter(|(_, step)| is(step, "start")).map(|(at, _)| at).collect();
    assert!(starts.iter().all(|start| *start > data), "{steps:?}");
    assert_eq!(starts.iter().filter(|start| **start < compare).count(), 3, "the three members alone");
}

#[test]
fn the_page_has_the_seven_steps_and_a_number_for_each_act() {
    let (settings, sets) = cluster();
    let plan = plan(&settings, sets);
    let page = Page(&plan).to_string();
    for line in [
        "1  create the machines",
        "   4.7-9     e1, e2, e3: put etcd's data in place\n",
        "   5.1       n1: put the files in place (1 file, 4 B)\n",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
    assert!(page.lines().count() <= 60, "it fits on a page:\n{page}");
    assert_eq!(etcd::BUMP, 1_000_000_000);
}

pub(super) fn titles(plan: &Plan) -> Vec<String> {
    steps(plan).iter().map(|step| format!("{} {}", step.host, step.action.title())).collect()
}

#[test]
fn a_member_of_a_living_cluster_joins_the_others_without_a_snapshot() {
    let plan = part("e2");
    assert_eq!(refusals(&plan), "");
    assert!(plan.etcd.is_none());
    let join = plan.joins_living().unwrap();
    let others: Vec<&str> = join.others.iter().map(|member| member.name.as_str()).collect();
    assert_eq!((join.member.name.as_str(), others), ("e2", vec!["e1", "e3"]));
    let titles = titles(&plan);
    let of_others: Vec<&String> = titles.iter().filter(|title| !title.starts_with("e2 ")).collect();
    assert!(
        of_others.iter().all(|title| ["key", "end the restore"].iter().any(|word| title.contains(word))),
        "{of_others:#?}"
    );
    let at =
        |text: &str| titles.iter().position(|title| title.contains(text)).unwrap_or_else(|| panic!("{text}"));
    let order = [
        "stop etcd",
        "remove the old member",
        "old data aside",
        "for joining",
        "start etcd",
        "voting",
        "own configuration back",
        "compare",
    ];
    assert!(order.map(at).is_sorted(), "{titles:#?}");
}

#[test]
fn one_node_is_restored_without_the_rest_and_the_masters_pin_its_new_key() {
    let plan = part("n1");
    assert_eq!(refusals(&plan), "");
    assert!(plan.etcd.is_none() && plan.joins.is_empty());
    let touched: Vec<String> = titles(&plan).into_iter().filter(|title| !title.starts_with("n1 ")).collect();
    assert!(
        touched.iter().all(|title| ["key", "end the restore"].iter().any(|word| title.contains(word))),
        "{touched:#?}"
    );
    assert!(touched.iter().all(|title| title.starts_with("m1 ")), "{touched:#?}");
    assert!(touched.contains(&"m1 pin the new host keys".to_owned()), "{touched:#?}");
    assert_eq!(part("m1").others.len(), 4, "a new master logs in to all hosts");
    assert!(refusals(&part("n2")).contains("n2 is not a host of the cluster's inventory"));
}

#[test]
fn a_cluster_without_etcd_hosts_gets_its_files_back() {
    let (mut settings, sets) = cluster();
    settings.inventory = Inventory::new(settings.inventory.hosts().skip(3).cloned());
    let plan = plan(&settings, sets.into_iter().skip(3).collect());
    assert_eq!(refusals(&plan), "");
    assert!(plan.etcd.is_none());
    assert!(plan.findings.iter().any(|finding| finding.text.contains("the inventory has no etcd host")));
}

#[test]
fn etcd_alone_leaves_nodes_and_the_masters_files_as_they_are() {
    let plan = part("etcd");
    assert_eq!(refusals(&plan), "");
    let hosts: Vec<&str> = plan.machines.iter().map(|machine| machine.host.as_str()).collect();
    assert_eq!(hosts, ["e1", "e2", "e3", "m1"]);
    let titles = titles(&plan);
    assert!(
        titles.iter().any(|title| title == "m1 stop API")
            && titles.iter().any(|title| title == "m1 start API")
    );
    assert!(
        !titles.iter().any(|title| title.starts_with("m1 put the files") || title.contains("pin")),
        "{titles:#?}"
    );
    assert_eq!(titles.iter().filter(|title| title.contains("put etcd's data")).count(), 3);
}

#[test]
fn a_single_file_is_put_in_place_and_nothing_is_stopped() {
    let (settings, sets) = cluster();
    let of = |path: &str| {
        let scope = Scope::Files { host: "m1".parse().unwrap(), path: path.to_owned() };
        make_part(&evidence(&settings, sets.clone()), scope)
    };
    let plan = of("/etc/origin/master/");
    assert_eq!(refusals(&plan), "");
    assert_eq!(
        titles(&plan),
        ["m1 put the files in place", "m1 labels, trust store, systemd's units", "m1 end the restore"]
    );
    assert!(refusals(&of("/etc/origin/mast")).contains("no set of m1 has /etc/origin/mast"));
}
