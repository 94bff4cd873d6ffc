//! A master whose disk is nearly full.

use std::fs;

use kit::lab::Role::{BackupServer, Master, Node};
use kit::lab::cmd::poll;
use kit::site::{NIGHT, Plan};
use serde_json::Value;

use crate::support::{SOON, ends_with, good, names, noise, outcome, set_report, verdict};

fn reasons(status: &Value) -> String {
    status["night"]["reasons"].to_string()
}

#[test]
fn a_master_without_space_removes_shipped_archives_and_says_at_once_what_it_cannot_store() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).build().unwrap();
    site.start("n1").unwrap();
    site.settle("n1").unwrap();
    site.drop_in("m1", "50-full.toml", "[vault]\nmin-free = \"1000000GiB\"\n").unwrap();
    let sent = site.host("m1").state().join("sent");
    fs::create_dir_all(&sent).unwrap();
    let archive = |date: &str| format!("m1.site.test_{date}.tgz");
    for date in ["2026.01.01", "2026.01.02", "2026.01.03"] {
        fs::write(sent.join(archive(date)), "shipped").unwrap();
    }
    site.start("m1").unwrap();
    // `until` of the pull is ten minutes away.
    let status = poll("both refusals in the status", SOON, || {
        let (_, status) = site.status("m1").unwrap();
        let refused = |set: &str| reasons(&status).contains(&format!("no space for {set}"));
        if refused("tonight's set") && refused("n1.site.test/") { Ok(status) } else { Err(reasons(&status)) }
    });
    let status = status.unwrap();
    assert_eq!(outcome(&status, "pull-nodes"), "none", "{:#}", status["night"]["record"]["stages"]);
    assert_eq!(names(&sent), [archive("2026.01.03")]);
    let log = site.log("m1");
    assert!(log.contains("node is missing: no space for n1.site.test/"), "{log}");
}

#[test]
fn sets_that_are_pulled_at_the_same_time_do_not_use_the_same_free_space() {
    let nodes = ["n1", "n2", "n3"];
    let mut plan = vec![("m1", &[Master][..])];
    plan.extend(nodes.map(|node| (node, &[Node][..])));
    let mut site = Plan::new(&plan).build().unwrap();
    for node in nodes {
        site.lay(node, "/var/spool/cron/root", &noise(40 << 20)).unwrap();
        site.start(node).unwrap();
        site.settle(node).unwrap();
    }
    let vault = tempfile::tempdir_in("/dev/shm").unwrap();
    let disk = rustix::fs::statvfs(vault.path()).unwrap();
    let min_free = disk.f_bavail * disk.f_frsize - (60 << 20);
    let config = format!("[vault]\npath = \"{}\"\nmin-free = \"{min_free}B\"\n", vault.path().display());
    site.drop_in("m1", "50-small.toml", &config).unwrap();
    for stage in ["pull-nodes", "pull-etcd"] {
        let until = format!("[stage.{stage}]\nuntil = \"{}\"\n", site.zone().clock(-1));
        site.drop_in("m1", &format!("50-{stage}.toml"), &until).unwrap();
    }
    site.start("m1").unwrap();
    let status = site.settle_within("m1", NIGHT).unwrap();
    assert_eq!(verdict(&status), "degraded", "{}", reasons(&status));
    let fate = |node: &str| set_report(&status, &format!("{node}.site.test"), "node")["fate"].clone();
    let pulled = nodes.iter().filter(|node| fate(node) == "pulled").count();
    assert_eq!(pulled, 1, "there is space for one of 40 MiB above min-free: {}", reasons(&status));
}

#[test]
fn a_vault_that_is_not_at_its_path_any_more_is_refused_and_not_begun_anew() {
    let mut site = Plan::new(&[("m1", &[Master])]).build().unwrap();
    site.night().unwrap();
    let vault = site.host("m1").vault();
    let elsewhere = vault.with_file_name("unmounted");
    fs::rename(&vault, &elsewhere).unwrap();
    let lost = "the vault that was used before is not at";
    let ran = ends_with(site.run("m1", &["run", "collect-master", "--again", "--wait"]).unwrap(), 1);
    assert!(ran.stderr.contains(lost), "{ran:?}");
    let checked = ends_with(site.run("m1", &["check"]).unwrap(), 1);
    assert!(checked.stderr.contains(lost) && checked.stderr.contains("vault.mark"), "{checked:?}");
    let (code, status) = site.status("m1").unwrap();
    assert!(code == 3 && status["warnings"].to_string().contains(lost), "{status:#}");
    assert!(!vault.exists());
    fs::rename(&elsewhere, &vault).unwrap();
    good(site.run("m1", &["run", "collect-master", "--again", "--wait"]).unwrap());
}

#[test]
fn a_check_compares_the_space_of_a_remote_with_what_a_night_needs() {
    let site = Plan::new(&[("m1", &[Master]), ("backup", &[BackupServer])]).build().unwrap();
    let sent = site.host("m1").state().join("sent");
    fs::create_dir_all(&sent).unwrap();
    fs::create_dir_all(site.inbox()).unwrap();
    // A sparse file, larger than any disk.
    fs::File::create(sent.join("m1.site.test_2026.01.01.tgz")).unwrap().set_len(1 << 42).unwrap();
    let ran = ends_with(site.run("m1", &["check", "--connect"]).unwrap(), 1);
    assert!(ran.stderr.contains("but the archives of one night may need 4"), "{ran:?}");
}
