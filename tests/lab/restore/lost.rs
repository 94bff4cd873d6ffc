//! A cluster that is lost, and what is left of it: the remote's files, the age key and a login to new machines.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use kit::lab::etcd::EtcdCluster;
use kit::lab::nightshift::{enable, managed};
pub use kit::lab::operator::OPERATOR;
use kit::lab::{Host, HostFile, Lab, Result, Role, Schedule, Topology, openshift, operator, package, pods};
use serde_json::Value;

use crate::site::{Site, Status, story, wait_settled};

pub const NIGHT: Duration = Duration::from_secs(300);
pub const APPLY: Duration = Duration::from_secs(600);
/// What a host's files are, apart from the times of directories, in which files were replaced.
pub const FILES: &str = "for path in /etc/origin /etc/etcd /etc/sysconfig /etc/dnsmasq.d /etc/ansible /var/spool/cron/root; do \
     [ ! -e $path ] || find $path -type d -printf '%p d %u:%g %m\\n' -o -printf '%p %y %u:%g %m %T@ %l ' -exec sha256sum {} ';'; \
     done | sort";

/// A kind of cluster: its hosts, and how its control plane is made of a founded etcd.
pub struct Cluster {
    pub topology: Topology,
    pub control_plane: fn(&Lab) -> Result<()>,
}

impl Cluster {
    /// The services of OpenShift 3.9.
    pub fn of_services() -> Self {
        Self { topology: operator::topology(), control_plane: openshift::services }
    }

    /// The static pods of OpenShift 3.11.
    pub fn of_static_pods() -> Self {
        let master = [Role::Master, Role::Etcd];
        let topology = Topology::new()
            .host("master1", &master)
            .host("master2", &master)
            .host("master3", &master)
            .with(1, Role::Node)
            .with(1, Role::BackupServer)
            .host(OPERATOR, &[]);
        Self { topology, control_plane: pods::instead_of_services }
    }
}

/// What was on the lost cluster.
pub struct Lost {
    /// The archive of a master, with its signature.
    pub archive: String,
    pub files: BTreeMap<String, Vec<u8>>,
    pub age_key: Vec<u8>,
    pub signer: String,
    /// All keys, by revision.
    pub keys: BTreeMap<i64, Value>,
    /// By host.
    pub listings: BTreeMap<String, String>,
}

/// A night of a cluster that is written to.
pub fn night_before(cluster: &Cluster) -> Lost {
    let site = Site::up("lost", &cluster.topology, &Schedule::due_in(-1));
    (cluster.control_plane)(&site.lab).unwrap();
    let etcd = EtcdCluster::of(&site.lab);
    etcd.wait_healthy().unwrap();
    let load = etcd.write_load(etcd.members()[0]).unwrap();
    enable(&site.lab).unwrap();
    let master = site.host("master1");
    let night = wait_settled(master, NIGHT).night().to_owned();
    assert_eq!(Status::of(master).verdict(), "complete", "{}", story(master));
    drop(load);
    let archive = format!("{}_{}.tgz.age", master.name, night.replace('-', "."));
    let backup = site.host("backup1");
    let files = ["", ".sig", ".sha256"].map(|ending| {
        let name = format!("{archive}{ending}");
        let content = backup.read_file(&format!("/home/cloud-user/{name}")).unwrap();
        (name, content)
    });
    let fingerprint = master.run("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").unwrap().text();
    let signer = fingerprint.split_whitespace().nth(1).unwrap().to_owned();
    let member = etcd.members()[0];
    let keys = etcd.members().iter().map(|host| {
        let manifest = format!("/var/lib/nightshift/vault/{}/{night}/etcd/manifest.json", host.name);
        let manifest: Value = serde_json::from_slice(&host.read_file(&manifest).unwrap()).unwrap();
        let revision = manifest.pointer("/etcd/passed/revision").and_then(Value::as_i64).unwrap();
        (revision, dump(&etcd, member, &format!("--rev={revision}")))
    });
    Lost {
        archive,
        files: files.into(),
        age_key: fs::read(&site.key.path).unwrap(),
        signer,
        keys: keys.collect(),
        listings: managed(&site.lab).into_iter().map(|host| (host.name.clone(), listing(host))).collect(),
    }
}

/// Machines with the same names and addresses, and other keys: installed again, with an empty cluster that runs on them.
pub fn new_machines(cluster: &Cluster) -> Lab {
    operator::new_machines("new", &cluster.topology, cluster.control_plane, &package().unwrap()).unwrap()
}

/// Gives the operator what is left of the lost cluster.
pub fn hand_over(operator: &Host, lost: &Lost) {
    for (name, content) in &lost.files {
        operator.write_file(&HostFile::new(format!("/root/{name}"), 0o600, content.clone())).unwrap();
    }
    operator.write_file(&HostFile::new("/root/age.txt", 0o600, lost.age_key.clone())).unwrap();
}

pub fn origin(lost: &Lost) -> String {
    format!("--from {} --identity age.txt --signer {}", lost.archive, lost.signer)
}

/// Makes the plan, and returns its directory.
pub fn plan(operator: &Host, lost: &Lost, words: &str) -> String {
    let line = format!("cd /root && nightshift restore plan {} {words}", origin(lost));
    let planned = operator.try_run_for(&line, APPLY).unwrap();
    println!("{}\n{}", planned.text(), planned.stderr);
    assert_eq!(planned.status, 0);
    let text = planned.text();
    let directory = text.rsplit_once("restore check ").map(|(_, directory)| directory.trim().to_owned());
    directory.unwrap_or_else(|| panic!("{text}"))
}

/// Checks the machines, and makes the members' data.
pub fn check(operator: &Host, directory: &str) {
    check_with(operator, directory, operator::ETCD_TOOLS);
}

/// With the programs in this directory.
pub fn check_with(operator: &Host, directory: &str, tools: &str) {
    let line = format!("cd /root && nightshift restore check {directory} --etcd-tools {tools}");
    let checked = operator.run_for(&line, APPLY).unwrap_or_else(|error| panic!("{error}"));
    println!("{}", checked.text());
}

/// Applies the plan to its end.
pub fn apply(lab: &Lab, directory: &str) {
    let began = Instant::now();
    let line = format!("cd /root && nightshift restore apply {directory}");
    let applied = lab.host(OPERATOR).try_run_for(&line, APPLY).unwrap();
    println!("{}\n{}", applied.text(), applied.stderr);
    assert_eq!(applied.status, 0, "{}", managed(lab).into_iter().map(story).collect::<String>());
    println!("restored in {:.1} s", began.elapsed().as_secs_f64());
}

pub fn listing(host: &Host) -> String {
    host.run(FILES).unwrap().text()
}

/// Every file is as it was, nothing is held, and nightshift starts at boot.
pub fn files_are_back(lab: &Lab, lost: &Lost) {
    for host in managed(lab) {
        assert_eq!(listing(host), lost.listings[&host.name], "{}", host.name);
        let enabled = host.run("systemctl is-enabled nightshift.service").unwrap().text();
        assert_eq!(enabled, "enabled", "{}", host.name);
        let held = host
            .run("find /etc/systemd/system -name '*nightshift-restore*'; ls /var/lib/nightshift-restore")
            .unwrap();
        assert!(!held.text().contains("hold"), "{}: {}", host.name, held.text());
    }
}

pub fn nights_are_complete(lab: &Lab) {
    for master in lab.with(Role::Master) {
        let status = wait_settled(master, NIGHT);
        assert_eq!(status.verdict(), "complete", "{}: {}\n{}", master.name, status.reasons(), story(master));
    }
}

/// Kills `apply` as soon as it has reported a step whose line matches.
pub fn killed_after(operator: &Host, directory: &str, step: &str) {
    let line = format!(
        "cd /root && nightshift restore apply {directory} > /root/out 2>&1 & pid=$!\n\
         while kill -0 $pid 2>/dev/null && ! grep -q '{step}' /root/out; do sleep 0.05; done\n\
         kill -9 $pid; grep '{step}' /root/out || {{ cat /root/out; exit 1; }}"
    );
    let killed = operator.run_for(&line, APPLY).unwrap_or_else(|error| panic!("{error}"));
    println!("killed after: {}", killed.text());
}

/// The revision that the snapshot of a plan has.
pub fn revision_of(operator: &Host, directory: &str) -> i64 {
    let plan = operator.read_file(&format!("/root/{directory}/plan.json")).unwrap();
    let plan: Value = serde_json::from_slice(&plan).unwrap();
    plan.pointer("/etcd/snapshot/revision").and_then(Value::as_i64).unwrap()
}

pub fn every_key_is_back(lab: &Lab, operator: &Host, directory: &str, lost: &Lost) {
    let revision = revision_of(operator, directory);
    let etcd = EtcdCluster::of(lab);
    for member in etcd.members() {
        let now = dump(&etcd, member, "");
        assert!(now == lost.keys[&revision], "{}: other keys than at revision {revision}", member.name);
        etcd.etcdctl(member, "put /after/restore/key value").unwrap();
        etcd.etcdctl(member, "del /after/restore/key").unwrap();
        // A client that has seen writes of after the snapshot must not wait without an error.
        let watch = etcd.etcdctl(member, &format!("watch --prefix / --rev={}", revision + 1));
        let ended = watch.map_or_else(|error| error.to_string(), |seen| format!("it was not ended: {seen}"));
        assert!(ended.contains("compacted"), "{}: {ended}", member.name);
    }
    assert!(etcd.revision(etcd.members()[0]).unwrap() > revision + 1_000_000_000);
}

/// Every key with its value and revisions.
fn dump(etcd: &EtcdCluster<'_>, member: &Host, words: &str) -> Value {
    let text = etcd.etcdctl(member, &format!("--write-out=json get '' --prefix {words}")).unwrap();
    let mut found: Value = serde_json::from_str(&text).unwrap();
    found["kvs"].take()
}

pub fn a_second_run_changes_nothing(lab: &Lab, operator: &Host, directory: &str) {
    let pins = || -> Vec<String> {
        let read = |host: &&Host| host.run("cat /etc/nightshift/ssh/known_hosts").unwrap().text();
        managed(lab).iter().map(read).collect()
    };
    let before = pins();
    let again =
        operator.run_for(&format!("cd /root && nightshift restore apply {directory}"), APPLY).unwrap().text();
    assert_eq!(before, pins());
    let changed: Vec<&str> = again.lines().filter(|line| line.contains(": done")).collect();
    assert!(changed.is_empty() && again.contains(": unchanged"), "{changed:#?}");
}
