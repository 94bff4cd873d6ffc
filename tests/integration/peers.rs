//! Peers that are late, poor or hostile.

use std::fs;
use std::path::Path;

use kit::lab::Role::{Master, Node};
use kit::site::Plan;
use serde_json::{Value, json};

use crate::support::{SOON, ends_with, good, hashes, names, reason, set_folder, set_report, sets, verdict};

#[test]
fn a_peer_that_comes_up_later_in_the_night_is_pulled() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).build().unwrap();
    site.start("n1").unwrap();
    site.settle("n1").unwrap();
    site.host_mut("n1").sshd.down();
    site.start("m1").unwrap();
    let waits = |notice: &str| notice.contains("pull-nodes 0/1");
    site.host("m1").daemon().wait_notice(SOON, waits).unwrap();
    site.host_mut("n1").sshd.up().unwrap();
    let status = site.settle("m1").unwrap();
    assert_eq!(verdict(&status), "complete", "{:#}", status["night"]["reasons"]);
    assert_eq!(set_report(&status, "n1.site.test", "node")["fate"], "pulled");
}

#[test]
fn a_peer_that_stays_down_is_named_and_degrades_the_night() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node]), ("n2", &[Node])]).build().unwrap();
    for stage in ["pull-nodes", "pull-etcd"] {
        let until = format!("[stage.{stage}]\nuntil = \"{}\"\n", site.zone().clock(-1));
        site.drop_in("m1", &format!("50-{stage}.toml"), &until).unwrap();
    }
    site.host_mut("n1").sshd.down();
    site.start("n2").unwrap();
    site.settle("n2").unwrap();
    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    assert_eq!((site.status("m1").unwrap().0, verdict(&status)), (3, "degraded"));
    assert_eq!(set_report(&status, "n1.site.test", "node")["fate"], "missing");
    assert_eq!(set_report(&status, "n2.site.test", "node")["fate"], "pulled");
    let shown = ends_with(site.run("m1", &["status"]).unwrap(), 3);
    assert!(shown.stdout.contains("! n1.site.test node: missing"), "{}", shown.stdout);
}

/// What a hostile node does to the set that it has published.
type Harm = fn(&Path);

const HOSTILE: [(&str, Harm, &str); 5] = [
    ("climbs", |set| rename_first_item(set, "../../../evil"), "not a safe path within a set"),
    ("absolute", |set| rename_first_item(set, "/etc/cron.d/evil"), "not a safe path within a set"),
    (
        "other",
        |set| edit(set, |manifest| manifest["host"] = json!("m1.site.test")),
        "the manifest belongs to",
    ),
    ("huge", |set| grow(&set.join("manifest.json"), 65 << 20), ""),
    (
        "wrong",
        |set| fs::write(set.join("root_cron"), "* * * * * evil\n").unwrap(),
        "differs from the manifest",
    ),
];

#[test]
fn what_hostile_peers_serve_is_refused_and_named_and_nothing_of_it_is_kept() {
    let mut hosts: Vec<(&str, &[_])> = vec![("m1", &[Master]), ("honest", &[Node])];
    hosts.extend(HOSTILE.iter().map(|(name, ..)| (*name, &[Node][..])));
    let mut site = Plan::new(&hosts).build().unwrap();
    // A file that cannot be read for any other reason is asked for again until this.
    let until = format!("[stage.pull-nodes]\nuntil = \"{}\"\n", site.zone().clock(-1));
    site.drop_in("m1", "50-until.toml", &until).unwrap();
    for (name, _) in &hosts[1..] {
        site.start(name).unwrap();
    }
    for (name, _) in &hosts[1..] {
        site.settle(name).unwrap();
    }
    for (name, harm, _) in HOSTILE {
        harm(&set_folder(&site, name, name, "node"));
    }
    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();

    assert_eq!(verdict(&status), "degraded");
    for (name, _, why) in HOSTILE {
        let host = format!("{name}.site.test");
        let report = set_report(&status, &host, "node");
        assert!(report["fate"] == "refused" || report["fate"] == "missing", "{report:#}");
        assert!(report["reason"].as_str().unwrap().contains(why), "{report:#}");
        assert!(sets(&site, "m1").keys().all(|set| !set.starts_with(&host)), "{name} was taken");
    }
    let held = sets(&site, "m1");
    assert_eq!(held.len(), 2, "this master's own set and the honest node's: {held:?}");
    good(site.run("m1", &["verify"]).unwrap());
    let vault = site.host("m1").vault();
    assert!(!vault.join("evil").exists() && !vault.parent().unwrap().join("evil").exists());
    let known = |name: &String| name.ends_with(".site.test") || name == ".vault";
    assert!(names(&vault).iter().all(known), "{:?}", names(&vault));
}

fn edit(set: &Path, change: impl FnOnce(&mut Value)) {
    let path = set.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(&path, serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
    // Its maker could sign what it likes; what it says is refused all the same.
    fs::remove_file(set.join("manifest.json.sig")).unwrap();
}

fn rename_first_item(set: &Path, path: &str) {
    edit(set, |manifest| manifest["items"][0]["path"] = json!(path));
}

fn grow(path: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

#[test]
fn a_set_of_a_newer_nightshift_is_kept_as_it_is_and_not_counted() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).build().unwrap();
    site.start("n1").unwrap();
    site.settle("n1").unwrap();
    let made = set_folder(&site, "n1", "n1", "node");
    edit(&made, |manifest| manifest["format"] = json!(99));
    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    assert_eq!(verdict(&status), "degraded");
    assert!(reason(&status, "pull-nodes").contains("upgrade masters first"), "{status:#}");
    assert_eq!(hashes(&set_folder(&site, "m1", "n1", "node")), hashes(&made));
    let listed = good(site.run("m1", &["sets"]).unwrap()).stdout;
    assert!(listed.contains("unusable") && listed.contains("upgrade masters first"), "{listed}");
}

#[test]
fn a_manifest_that_was_changed_under_its_signature_is_refused() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).build().unwrap();
    site.start("n1").unwrap();
    site.settle("n1").unwrap();
    let manifest = set_folder(&site, "n1", "n1", "node").join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"good\"", "\"degraded\"")).unwrap();
    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    let report = set_report(&status, "n1.site.test", "node");
    assert!(report["reason"].as_str().unwrap().contains("signature"), "{report:#}");
    assert_eq!(sets(&site, "m1").len(), 1);
}

#[test]
fn a_second_attempt_is_pulled_beside_the_first_and_counts() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).build().unwrap();
    let crontab = site.source("n1", "/var/spool/cron/root");
    fs::remove_file(&crontab).unwrap();
    site.night().unwrap();
    let (code, status) = site.status("m1").unwrap();
    assert_eq!((code, verdict(&status)), (3, "degraded"));
    let report = set_report(&status, "n1.site.test", "node");
    assert_eq!(report["grade"], "degraded");
    assert!(report["reason"].as_str().unwrap().contains("cron/root"), "{report:#}");

    fs::write(&crontab, "0 4 * * * /usr/bin/true\n").unwrap();
    good(site.run("n1", &["run", "collect-node", "--wait"]).unwrap());
    good(site.run("m1", &["run", "pull-nodes", "--wait"]).unwrap());
    let night = set_folder(&site, "m1", "n1", "node");
    let sets = names(night.parent().unwrap());
    assert_eq!(sets, ["node", "node.2"], "the first stays as it was");
    let (code, status) = site.status("m1").unwrap();
    assert_eq!((code, verdict(&status)), (0, "complete"), "{:#}", status["night"]["reasons"]);
}
