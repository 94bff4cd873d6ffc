use std::time::Duration;

use kit::lab::nightshift::managed;
use kit::lab::{Host, HostFile, Role, Schedule, Topology, available};

use crate::site::{Site, Status, story, wait_settled, wait_stage};

const SOON: Duration = Duration::from_secs(60);
const NIGHT: Duration = Duration::from_secs(240);

#[test]
fn a_host_that_was_down_at_its_minute_catches_up_when_booted() {
    if !kit::require(available()) {
        return;
    }
    let topology = Topology::new().host("master1", &[Role::Master, Role::Etcd]).with(1, Role::Node);
    let site = Site::up("catchup", &topology, &Schedule::due_in(-4));
    let (master, node) = (site.host("master1"), site.host("node1"));
    node.systemctl("enable --quiet nightshift.service").unwrap();
    node.shutdown().unwrap();

    master.systemctl("enable --now --quiet nightshift.service").unwrap();
    wait_stage(master, "pull-etcd", SOON);
    // It waits for whoever is down, as long as its `until` has not passed.
    assert_eq!(started(master, "pull-nodes"), 1, "{}", story(master));
    node.start().unwrap();
    node.wait_journal(&["NIGHTSHIFT_EVENT=stage-caught-up", "NIGHTSHIFT_STAGE=collect-node"], SOON, |_| true)
        .unwrap_or_else(|error| panic!("{error}\n{}", story(node)));
    master
        .wait_journal(&["NIGHTSHIFT_EVENT=set-pulled", "NIGHTSHIFT_PEER=node1.lab.test"], NIGHT, |_| true)
        .unwrap_or_else(|error| panic!("{error}\n{}", story(master)));
    for host in [node, master] {
        let status = wait_settled(host, NIGHT);
        assert_eq!((status.verdict(), status.exit), ("complete", 0), "{}", story(host));
    }
}

/// The vault of nightshift on a host.
const VAULT: &str = "/var/lib/nightshift/vault";

#[test]
fn a_night_with_four_bad_nodes_ends_on_time_with_everything_else_and_names_each_of_them() {
    if !kit::require(available()) {
        return;
    }
    let topology = Topology::new()
        .host("master1", &[Role::Master, Role::Etcd])
        .with(5, Role::Node)
        .with(1, Role::BackupServer);
    let evening = Schedule::due_in(-4);
    let site = Site::up("absent", &topology, &evening);
    let master = site.host("master1");
    let [down, slow, flooding, ahead] = ["node2", "node3", "node4", "node5"].map(|name| site.host(name));
    down.shutdown().unwrap();
    responds_a_byte_every_four_seconds(slow);
    has_a_clock_three_days_ahead(ahead);
    // The waiting ends in the minute after next, and the night one minute later.
    let gone = evening.minutes_gone();
    let config = site.config(&evening.ending(gone + 2, gone + 3));
    for host in managed(&site.lab).into_iter().filter(|host| host.is_up()) {
        host.write_file(&HostFile::new(kit::lab::nightshift::CONFIG, 0o644, config.as_str())).unwrap();
        if host.name != flooding.name {
            host.systemctl("enable --now --quiet nightshift.service").unwrap();
        }
    }
    wait_stage(master, "collect-master", SOON);
    publishes_a_manifest_of_60_mb(flooding, Status::of(master).night());

    for bad in [down, slow, flooding, ahead] {
        let peer = format!("NIGHTSHIFT_PEER={}", bad.name);
        let events = ["NIGHTSHIFT_EVENT=set-missing", "NIGHTSHIFT_EVENT=set-refused", &peer];
        let missing = master
            .wait_journal(&events, NIGHT, |_| true)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", bad.name, story(master)));
        println!("{}", missing.message());
        assert!(missing.field("NIGHTSHIFT_REASON").is_some_and(|reason| !reason.is_empty()));
    }
    assert_eq!(wait_stage(master, "pack-archive", NIGHT), "degraded", "it names what it lacks");
    for stage in ["ship-archive", "drill", "prune"] {
        assert_eq!(wait_stage(master, stage, NIGHT), "done", "{stage}: {}", story(master));
    }
    let closed = master
        .wait_journal(&["NIGHTSHIFT_EVENT=night-closed"], NIGHT, |_| true)
        .unwrap_or_else(|error| panic!("{error}\n{}", story(master)));
    assert_eq!(closed.field("NIGHTSHIFT_OUTCOME"), Some("degraded"), "{}", closed.message());

    let status = Status::of(master);
    assert_eq!((status.verdict(), status.exit), ("degraded", 3), "{}", story(master));
    let text = master.try_run("nightshift status").unwrap();
    println!("{}", text.text());
    assert_eq!(text.status, 3);
    for bad in [down, slow, flooding, ahead] {
        let missing = format!("{} node: missing", bad.name);
        assert!(status.reasons().contains(&missing), "{}", status.reasons());
        assert!(text.text().contains(&format!("! {missing}")), "{}", text.text());
    }
    // Everything else is there, also off site.
    let sets = master.run("nightshift sets").unwrap().text();
    for set in ["master1.lab.test/", "node1.lab.test/"] {
        assert!(sets.contains(set), "{sets}");
    }
    let archives = site.host("backup1").run("ls /home/cloud-user").unwrap().text();
    assert!(archives.lines().any(|name| name.ends_with(".tgz.age")), "{archives}");
    let node = Status::of(site.host("node1"));
    assert_eq!((node.verdict(), node.exit), ("complete", 0), "what another host lacks is not this one's");
}

/// Its SFTP server is behind a program that passes a byte of its responses every four seconds.
fn responds_a_byte_every_four_seconds(host: &Host) {
    let script = "#!/bin/sh\n/usr/lib/openssh/sftp-server -R | perl -e 'while (sysread STDIN, $b, 1) { syswrite STDOUT, $b; sleep 4 }'\n";
    host.write_file(&HostFile::new("/usr/local/bin/slow-sftp", 0o755, script)).unwrap();
    let keys = "/var/lib/nightshift-peer/.ssh/authorized_keys";
    host.run(&format!(
        "usermod --shell /bin/sh nightshift-peer && sed -i 's/command=\"[^\"]*\"/command=\"slow-sftp\"/' {keys} && grep -q slow-sftp {keys}"
    ))
    .unwrap();
}

fn has_a_clock_three_days_ahead(host: &Host) {
    // Only the time of day: what waits for a duration waits as before.
    let drop_in = "[Service]\nEnvironment=LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1\n\
                   Environment=FAKETIME=+3d FAKETIME_DONT_FAKE_MONOTONIC=1\n";
    let path = "/etc/systemd/system/nightshift.service.d/ahead.conf";
    host.write_file(&HostFile::new(path, 0o644, drop_in)).unwrap();
    host.systemctl("daemon-reload").unwrap();
}

/// Its daemon does not run, so that nothing else writes into its vault.
fn publishes_a_manifest_of_60_mb(host: &Host, night: &str) {
    let set = format!("{VAULT}/{}/{night}/node", host.name);
    host.run(&format!(
        "install -d -o nightshift -g nightshift -m 0755 {VAULT} {VAULT}/{} {VAULT}/{}/{night} {set} && \
         head -c 60000000 /dev/zero | tr '\\0' ' ' > {set}/manifest.json && chmod 0644 {set}/manifest.json",
        host.name, host.name
    ))
    .unwrap();
}

/// How often a stage began.
fn started(host: &Host, stage: &str) -> usize {
    let of_stage = format!("NIGHTSHIFT_STAGE={stage}");
    let events = ["NIGHTSHIFT_EVENT=stage-started", "NIGHTSHIFT_EVENT=stage-caught-up"];
    host.journal(&[events[0], events[1], &of_stage]).unwrap().len()
}
