//! The package on the releases of Debian that it is for. It is made around the program that the packages have.

use std::time::{Duration, Instant};

use kit::lab::nightshift::{self, managed};
use kit::lab::{Host, Role, Schedule, Topology, available};

use crate::site::{Site, Status, story, wait_settled, wait_stage};

const NIGHT: Duration = Duration::from_secs(300);

#[test]
fn a_night_on_debian_12_is_complete() {
    a_night_is_complete("bookworm");
}

#[test]
fn a_night_on_debian_13_is_complete() {
    a_night_is_complete("trixie");
}

#[test]
fn a_night_on_debian_sid_is_complete() {
    a_night_is_complete("sid");
}

/// A cluster whose hosts all have this release installs the package, and makes, pulls, drills and ships the sets of a night.
fn a_night_is_complete(release: &str) {
    if !kit::require(available()) {
        return;
    }
    let started = Instant::now();
    let topology = Topology::new()
        .of_release(release)
        .with(2, Role::Master)
        .with(1, Role::Etcd)
        .with(1, Role::Node)
        .with(1, Role::Agentless)
        .with(1, Role::BackupServer);
    let site = Site::up(release, &topology, &Schedule::due_in(1));
    nightshift::enable(&site.lab).unwrap();
    let hosts = managed(&site.lab);
    for host in &hosts {
        assert_eq!(wait_stage(host, "prune", NIGHT), "done", "{}", story(host));
    }
    for host in &hosts {
        let status = wait_settled(host, NIGHT);
        let found = (status.verdict().to_owned(), Status::of(host).exit);
        assert_eq!(found, ("complete".to_owned(), 0), "{}: {}\n{}", host.name, status.reasons(), story(host));
        host.systemctl("is-active --quiet nightshift.service").unwrap();
    }
    let shipped = site.host("backup1").run("ls /home/cloud-user").unwrap().text();
    assert_eq!(shipped.lines().filter(|name| name.ends_with(".tgz.age")).count(), 2, "{shipped}");
    println!(
        "{release}: complete after {:.0} s; {}",
        started.elapsed().as_secs_f64(),
        versions(site.host("etcd1"))
    );
}

fn versions(host: &Host) -> String {
    let line = "cat /etc/debian_version; systemctl --version; ldd --version; ssh -V 2>&1; etcd --version";
    let printed = host.run(line).unwrap().text();
    let wanted = |line: &&str| {
        ["systemd ", "ldd ", "OpenSSH", "etcd Version"].iter().any(|name| line.starts_with(name))
    };
    let lines = printed.lines().take(1).chain(printed.lines().filter(wanted));
    lines.collect::<Vec<_>>().join(", ")
}
