//! A cluster that was lost, rebuilt on new machines from the remote's files, the age key and a login.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use kit::lab::etcd::EtcdCluster;
use kit::lab::nightshift::{self, enable, managed};
use kit::lab::{Host, HostFile, Lab, Role, Schedule, Topology, available, openshift, package};
use serde_json::Value;

use crate::site::{Site, Status, story, wait_settled};

const NIGHT: Duration = Duration::from_secs(300);
const APPLY: Duration = Duration::from_secs(600);
const OPERATOR: &str = "operator";
/// What a host's files are, apart from the times of directories, in which files were replaced.
const FILES: &str = "for path in /etc/origin /etc/etcd /etc/sysconfig /etc/dnsmasq.d /etc/ansible /var/spool/cron/root; do \
     [ ! -e $path ] || find $path -type d -printf '%p d %u:%g %m\\n' -o -printf '%p %y %u:%g %m %T@ %l ' -exec sha256sum {} ';'; \
     done | sort";

fn topology() -> Topology {
    Topology::new()
        .with(3, Role::Master)
        .with(3, Role::Etcd)
        .with(2, Role::Node)
        .with(1, Role::BackupServer)
        .host(OPERATOR, &[])
}

/// What was on the lost cluster.
struct Lost {
    /// The archive of a master, with its signature.
    archive: String,
    files: BTreeMap<String, Vec<u8>>,
    age_key: Vec<u8>,
    signer: String,
    /// All keys, by revision.
    keys: BTreeMap<i64, Value>,
    /// By host.
    listings: BTreeMap<String, String>,
}

#[test]
fn a_lost_cluster_is_rebuilt_on_new_machines_from_one_archive() {
    if !kit::require(available()) {
        return;
    }
    let lost = the_night_before();
    let lab = new_machines();
    let operator = lab.host(OPERATOR);
    let directory = plan(operator, &lost);
    let checked = operator
        .run_for(&format!("cd /root && nightshift restore check {directory} --etcd-tools /root/etcd"), APPLY)
        .unwrap_or_else(|error| panic!("{error}"));
    println!("{}", checked.text());
    for step in ["3.12", "4.7", "6.1"] {
        killed_after(operator, &directory, step);
        if step == "4.7" {
            nothing_held_starts_at_boot(lab.host("etcd1"));
        }
    }
    let began = Instant::now();
    let applied =
        operator.try_run_for(&format!("cd /root && nightshift restore apply {directory}"), APPLY).unwrap();
    println!("{}\n{}", applied.text(), applied.stderr);
    assert_eq!(applied.status, 0, "{}", managed(&lab).into_iter().map(story).collect::<String>());
    println!("restored in {:.1} s", began.elapsed().as_secs_f64());

    let status = operator.try_run(&format!("cd /root && nightshift restore status {directory}")).unwrap();
    assert_eq!(status.status, 0, "{}", status.text());
    every_key_is_back(&lab, operator, &directory, &lost);
    for host in managed(&lab) {
        assert_eq!(host.run(FILES).unwrap().text(), lost.listings[&host.name], "{}", host.name);
        let enabled = host.run("systemctl is-enabled nightshift.service").unwrap().text();
        assert_eq!(enabled, "enabled", "{}", host.name);
        let held = host
            .run("find /etc/systemd/system -name '*nightshift-restore*'; ls /var/lib/nightshift-restore")
            .unwrap();
        assert!(!held.text().contains("hold"), "{}: {}", host.name, held.text());
    }
    for master in lab.with(Role::Master) {
        let status = wait_settled(master, NIGHT);
        assert_eq!(status.verdict(), "complete", "{}: {}\n{}", master.name, status.reasons(), story(master));
    }
    a_second_run_changes_nothing(&lab, operator, &directory);
}

fn a_second_run_changes_nothing(lab: &Lab, operator: &Host, directory: &str) {
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

fn the_night_before() -> Lost {
    let site = Site::up("lost", &topology(), &Schedule::due_in(-1));
    openshift::services(&site.lab).unwrap();
    let etcd = EtcdCluster::of(&site.lab);
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
        listings: managed(&site.lab)
            .into_iter()
            .map(|host| (host.name.clone(), host.run(FILES).unwrap().text()))
            .collect(),
    }
}

/// Machines with the same names and addresses, and other keys: installed again, with an empty cluster that runs on them.
fn new_machines() -> Lab {
    let deb = package().unwrap();
    let lab = Lab::up("new", &topology()).unwrap();
    openshift::lay(&lab).unwrap();
    openshift::services(&lab).unwrap();
    EtcdCluster::found(&lab).unwrap();
    nightshift::install(&lab, &deb).unwrap();
    let operator = lab.host(OPERATOR);
    operator.push(&deb, "/root/nightshift.deb").unwrap();
    operator.run_for("dpkg --install /root/nightshift.deb", Duration::from_secs(120)).unwrap();
    operator
        .run("mkdir -p -m 0700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
        .unwrap();
    let key = operator.read_file("/root/.ssh/id_ed25519.pub").unwrap();
    let mut pins = String::new();
    for host in lab.hosts() {
        let of = if host.has(Role::BackupServer) { "cloud-user" } else { "root" };
        let home = if of == "root" { "/root" } else { "/home/cloud-user" };
        host.run(&format!("install -d -m 0700 -o {of} -g {of} {home}/.ssh")).unwrap();
        let file = HostFile::new(format!("{home}/.ssh/authorized_keys"), 0o600, key.clone());
        host.write_file(&if of == "root" { file } else { file.owned_by("cloud-user:cloud-user") }).unwrap();
        let public = host.run("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub").unwrap().text();
        pins += &format!("{},{} {public}\n", host.name, host.address());
    }
    operator.write_file(&HostFile::new("/root/.ssh/known_hosts", 0o600, pins)).unwrap();
    let tools = kit::etcd::Release::named("3.5").unwrap();
    for program in ["etcd", "etcdutl", "etcdctl"] {
        operator.push(&tools.program(program), &format!("/root/etcd/{program}")).unwrap();
    }
    operator.run("chmod 0755 /root/etcd/*").unwrap();
    lab
}

/// Makes the plan, and returns its directory.
fn plan(operator: &Host, lost: &Lost) -> String {
    for (name, content) in &lost.files {
        operator.write_file(&HostFile::new(format!("/root/{name}"), 0o600, content.clone())).unwrap();
    }
    operator.write_file(&HostFile::new("/root/age.txt", 0o600, lost.age_key.clone())).unwrap();
    let planned = operator.try_run_for(
        &format!(
            "cd /root && nightshift restore plan --from {} --identity age.txt --signer {}",
            lost.archive, lost.signer
        ),
        APPLY,
    );
    let planned = planned.unwrap();
    println!("{}\n{}", planned.text(), planned.stderr);
    assert_eq!(planned.status, 0);
    operator.run("cd /root && echo restore-*").unwrap().text()
}

/// Kills `apply` as soon as it has reported this step.
fn killed_after(operator: &Host, directory: &str, step: &str) {
    let line = format!(
        "cd /root && nightshift restore apply {directory} > /root/out 2>&1 & pid=$!\n\
         while kill -0 $pid 2>/dev/null && ! grep -q '^{step} ' /root/out; do sleep 0.05; done\n\
         kill -9 $pid; grep '^{step} ' /root/out || {{ cat /root/out; exit 1; }}"
    );
    let killed = operator.run_for(&line, APPLY).unwrap_or_else(|error| panic!("{error}"));
    println!("killed after: {}", killed.text());
}

/// Without the hold, a member with an emptied data directory would start as an empty etcd that accepts writes.
fn nothing_held_starts_at_boot(member: &Host) {
    member.reboot().unwrap();
    let state = member.try_run("systemctl is-active etcd.service nightshift.service").unwrap().text();
    assert!(!state.lines().any(|line| line == "active"), "{state}");
    let refused = member.try_run("systemctl start etcd.service").unwrap();
    assert_ne!(refused.status, 0, "a held unit starts");
}

fn every_key_is_back(lab: &Lab, operator: &Host, directory: &str, lost: &Lost) {
    let plan: Value =
        serde_json::from_slice(&operator.read_file(&format!("/root/{directory}/plan.json")).unwrap())
            .unwrap();
    let revision = plan.pointer("/etcd/snapshot/revision").and_then(Value::as_i64).unwrap();
    let etcd = EtcdCluster::of(lab);
    for member in etcd.members() {
        let now = dump(&etcd, member, "");
        assert!(now == lost.keys[&revision], "{}: other keys than at revision {revision}", member.name);
        etcd.etcdctl(member, "put /after/restore/key value").unwrap();
        etcd.etcdctl(member, "del /after/restore/key").unwrap();
    }
    assert!(etcd.revision(etcd.members()[0]).unwrap() > revision + 1_000_000_000);
}

/// Every key with its value and revisions.
fn dump(etcd: &EtcdCluster<'_>, member: &Host, words: &str) -> Value {
    let text = etcd.etcdctl(member, &format!("--write-out=json get '' --prefix {words}")).unwrap();
    let mut found: Value = serde_json::from_str(&text).unwrap();
    found["kvs"].take()
}
