use std::time::Duration;

use kit::lab::nightshift::managed;
use kit::lab::{Role, Schedule, Topology, available};

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

#[test]
fn a_host_down_all_night_degrades_the_night_and_is_named() {
    if !kit::require(available()) {
        return;
    }
    let topology = Topology::new()
        .host("master1", &[Role::Master, Role::Etcd])
        .with(2, Role::Node)
        .with(1, Role::BackupServer);
    let evening = Schedule::due_in(-4);
    let site = Site::up("absent", &topology, &evening);
    let (master, away) = (site.host("master1"), site.host("node2"));
    away.shutdown().unwrap();
    // The waiting ends in the minute after next, and the night one minute later.
    let gone = evening.minutes_gone();
    let config = site.config(&evening.ending(gone + 2, gone + 3));
    for host in managed(&site.lab).into_iter().filter(|host| host.is_up()) {
        host.write_file(&kit::lab::HostFile::new(kit::lab::nightshift::CONFIG, 0o644, config.as_str()))
            .unwrap();
        host.systemctl("enable --now --quiet nightshift.service").unwrap();
    }

    let missing = master
        .wait_journal(&["NIGHTSHIFT_EVENT=set-missing", "NIGHTSHIFT_PEER=node2.lab.test"], NIGHT, |_| true)
        .unwrap_or_else(|error| panic!("{error}\n{}", story(master)));
    assert_eq!(missing.field("NIGHTSHIFT_STAGE"), Some("pull-nodes"));
    assert!(missing.field("NIGHTSHIFT_REASON").is_some_and(|reason| !reason.is_empty()));
    let closed = master
        .wait_journal(&["NIGHTSHIFT_EVENT=night-closed"], NIGHT, |_| true)
        .unwrap_or_else(|error| panic!("{error}\n{}", story(master)));
    assert_eq!(closed.field("NIGHTSHIFT_OUTCOME"), Some("degraded"), "{}", closed.message());

    let status = Status::of(master);
    assert_eq!((status.verdict(), status.exit), ("degraded", 3), "{}", story(master));
    assert!(status.reasons().contains("node2.lab.test node: missing"), "{}", status.reasons());
    let text = master.try_run("nightshift status").unwrap();
    assert_eq!(text.status, 3);
    assert!(text.text().contains("! node2.lab.test node: missing"), "{}", text.text());
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

/// How often a stage began.
fn started(host: &kit::lab::Host, stage: &str) -> usize {
    let of_stage = format!("NIGHTSHIFT_STAGE={stage}");
    let events = ["NIGHTSHIFT_EVENT=stage-started", "NIGHTSHIFT_EVENT=stage-caught-up"];
    host.journal(&[events[0], events[1], &of_stage]).unwrap().len()
}
