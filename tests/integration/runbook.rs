//! The runbook that nightshift replaces, cron line by cron line, each with the result that it was after.

use std::fs;
use std::path::Path;

use kit::lab::Role::{Agentless, BackupServer, Etcd, Master, Node};
use kit::lab::cmd::Cmd;
use kit::site::Plan;
use tempfile::tempdir;

use crate::support::{
    archive_in, good, names, night_of, set_folder, set_report, shell, verdict, wait_for_set,
};

/// `0 22 * * * etcdctl backup --data-dir /var/lib/etcd/ …; cp …/snap/db …; tar -zcf /admin/e001.tgz …`
#[test]
fn runbook_2200_an_etcd_host_hands_in_a_snapshot_that_etcd_itself_restores() {
    let mut site = Plan::new(&[("e1", &[Etcd])]).build().unwrap();
    for number in 0..20 {
        site.etcd[0].put(&format!("/registry/{number}"), "value").unwrap();
    }
    site.night().unwrap();

    let set = set_folder(&site, "e1", "e1", "etcd");
    let scratch = tempdir().unwrap();
    let snapshot = scratch.path().join("snapshot.db");
    shell("gzip -dc \"$1/snapshot.db.gz\" >\"$2\"", &[&set, &snapshot]);
    // Restoring checks the snapshot's own hash first.
    shell(
        "ETCDCTL_API=3 etcdctl snapshot restore \"$1\" --data-dir \"$2\"",
        &[&snapshot, &scratch.path().join("restored")],
    );
    let status = shell("ETCDCTL_API=3 etcdctl snapshot status \"$1\" -w fields", &[&snapshot]);
    assert!(status.contains("\"Revision\" : 21"), "twenty writes on an empty store: {status}");
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(set.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["etcd"]["revision"], 21);
    assert_eq!(manifest["etcd"]["member_name"], site.host("e1").name);
    assert_eq!(manifest["grade"], "good");
}

/// `29 22 * * * scp etcd@etcd:/etcd/e001.tgz /admin/backup`, where each one overwrote the last
#[test]
fn runbook_2229_masters_hold_each_etcds_snapshot_under_its_own_name() {
    let mut site = Plan::new(&[("m1", &[Master]), ("e1", &[Etcd]), ("e2", &[Etcd])]).build().unwrap();
    site.night().unwrap();

    for member in ["e1", "e2"] {
        let held = set_folder(&site, "m1", member, "etcd");
        let made = set_folder(&site, member, member, "etcd");
        for file in ["snapshot.db.gz", "manifest.json"] {
            assert_eq!(fs::read(held.join(file)).unwrap(), fs::read(made.join(file)).unwrap());
        }
    }
    assert_eq!(verdict(&site.status("m1").unwrap().1), "complete");
}

/// `30 22 * * * scp node@node1:/etc/origin/node/node-config.yaml …; scp node@node1:/var/spool/cron/root …/root_cron`
#[test]
fn runbook_2230_node_config_and_root_crontab_as_root_cron() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node]), ("n2", &[Agentless])]).build().unwrap();
    // A node without a daemon is read where the master's own list says: here both have the same.
    site.night().unwrap();

    let held = set_folder(&site, "m1", "n1", "node");
    same(&held.join("node-config.yaml"), &site.source("n1", "/etc/origin/node/node-config.yaml"));
    same(&held.join("root_cron"), &site.source("n1", "/var/spool/cron/root"));

    let read = set_folder(&site, "m1", "n2", "node");
    assert!(read.join("node-config.yaml").is_file() && read.join("root_cron").is_file());
    let manifest = fs::read_to_string(read.join("manifest.json")).unwrap();
    assert!(manifest.contains("\"made_by\": \"m1.site.test\""), "{manifest}");
}

/// `40 22 * * * cp /etc/sysconfig/atomic-openshift-master-api /admin/backup/master/…`, and five more
#[test]
fn runbook_2240_master_files() {
    let mut site = Plan::new(&[("m1", &[Master])]).build().unwrap();
    site.night().unwrap();

    let set = set_folder(&site, "m1", "m1", "master");
    for (name, source) in [
        ("atomic-openshift-master-api", "/etc/sysconfig/atomic-openshift-master-api"),
        ("atomic-openshift-master-controllers", "/etc/sysconfig/atomic-openshift-master-controllers"),
        ("master-config.yaml", "/etc/origin/master/master-config.yaml"),
        ("node-config.yaml", "/etc/origin/node/node-config.yaml"),
        ("hosts", "/etc/ansible/hosts"),
        ("root_cron", "/var/spool/cron/root"),
    ] {
        same(&set.join(name), &site.source("m1", source));
    }
}

/// `45 23 * * * scp -r root@othermaster:/admin/backup/othermaster/* /root/backup/othermaster/`
#[test]
fn runbook_2345_masters_mirror_each_other() {
    let mut site = Plan::new(&[("m1", &[Master]), ("m2", &[Master]), ("n1", &[Node])]).build().unwrap();
    // Only the first master gets in at the node; the other one has its set by way of the first.
    let key = fs::read_to_string(site.host("m1").state().with_file_name("id_ed25519.pub")).unwrap();
    site.host("n1").sshd.authorize(&[key]).unwrap();
    site.start("n1").unwrap();
    wait_for_set(&site, "n1", "n1", "node");
    site.start("m1").unwrap();
    wait_for_set(&site, "m1", "n1", "node");
    site.start("m2").unwrap();
    for master in ["m1", "m2"] {
        site.settle(master).unwrap();
    }

    for (master, other) in [("m1", "m2"), ("m2", "m1")] {
        let held = set_folder(&site, master, other, "master");
        same(&held.join("master-config.yaml"), &site.source(other, "/etc/origin/master/master-config.yaml"));
    }
    let (_, status) = site.status("m2").unwrap();
    assert_eq!(set_report(&status, "n1.site.test", "node")["from"], "m1.site.test");
    same(
        &set_folder(&site, "m2", "n1", "node").join("root_cron"),
        &site.source("n1", "/var/spool/cron/root"),
    );
    good(site.run("m2", &["verify"]).unwrap());
}

/// ``50 23 * * * tar -czf /root/m001_`/usr/bin/date "+%Y.%m.%d"`.tgz /root/backup``
#[test]
fn runbook_2350_dated_tarball() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).build().unwrap();
    site.night().unwrap();

    // With nowhere to go it waits for nobody.
    let archive = archive_in(&site.host("m1").state().join("sent"));
    let date = night_of(&site, "m1").replace('-', ".");
    assert_eq!(archive.file_name().unwrap().to_str().unwrap(), format!("m1.site.test_{date}.tgz"));
    let listing = shell("tar -tzf \"$1\"", &[&archive]);
    for name in ["master-config.yaml", "root_cron"] {
        assert!(listing.lines().any(|line| line.ends_with(name)), "{listing}");
    }
    assert_eq!(file_mode(&archive), "600", "it holds every secret of the cluster");
}

/// `55 23 * * * scp /root/m001_* cloud-user@128.31.22.168:/home/cloud-user/; mv /root/m001_* /root/sent`
#[test]
fn runbook_2355_tarball_reaches_the_backup_server_and_moves_to_sent() {
    let mut site = Plan::new(&[("m1", &[Master]), ("backup", &[BackupServer])]).build().unwrap();
    site.night().unwrap();

    let there = archive_in(&site.inbox());
    let here = archive_in(&site.host("m1").state().join("sent"));
    assert_eq!(there.file_name(), here.file_name());
    same(&there, &here);
    assert_eq!(
        names(&site.host("m1").state().join("outbox")),
        [".backup-server.copies", ".backup-server.last", ".backup-server.shipped"]
    );
}

fn same(one: &Path, other: &Path) {
    let read = |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(read(one), read(other), "{} and {}", one.display(), other.display());
}

fn file_mode(path: &Path) -> String {
    Cmd::new("stat").args(["-c", "%a"]).arg(path).run().unwrap().text()
}
