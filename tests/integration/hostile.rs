//! Peers that serve their vault with a bad habit cost the night their own set, and nothing else.

use std::fs;
use std::path::Path;

use kit::lab::Role::{Etcd, Master, Node};
use kit::site::{Plan, Site};
use serde_json::{Value, json};

use crate::support::{NIGHT_ENDS, outcome, reason, set_folder, set_report, sha256, shell, verdict};

/// Starts the nodes, waits for their sets, and then starts the master.
fn night(site: &mut Site, nodes: &[&str]) -> Value {
    for node in nodes {
        site.start(node).unwrap();
    }
    for node in nodes {
        site.settle(node).unwrap();
    }
    site.start("m1").unwrap();
    site.settle("m1").unwrap()
}

fn all_later_stages_ran(status: &Value) {
    for stage in ["mirror-masters", "ship-archive", "prune"] {
        assert_eq!(outcome(status, stage), "done", "{stage}: {}", reason(status, stage));
    }
    // The archive names the sets that it should have.
    assert_eq!(outcome(status, "pack-archive"), "degraded", "{}", reason(status, "pack-archive"));
    assert_eq!(status["night"]["record"]["archives"].as_array().unwrap().len(), 1, "{status:#}");
}

#[test]
fn peers_that_are_slow_or_flood_are_named_and_the_night_ends_with_its_archive() {
    // The hosts are named after their habits.
    const HABITS: [(&str, &str); 4] = [
        ("slow", "too slow"),
        ("flood", "more than 200 entries"),
        ("endless", "more than 16777216 bytes"),
        ("lies", "differs from the manifest"),
    ];
    let mut hosts: Vec<(&str, &[_])> = vec![("m1", &[Master]), ("honest", &[Node])];
    hosts.extend(HABITS.iter().map(|(name, _)| (*name, &[Node][..])));
    let plan = HABITS.iter().fold(Plan::new(&hosts), |plan, (habit, _)| plan.hostile(habit, habit));
    let mut site = plan.build().unwrap();
    // Each peer is polled once; and a byte every half second is too slow after three seconds.
    let until = format!("[stage.pull-nodes]\nuntil = \"{}\"\n", site.zone().clock(-1));
    site.drop_in("m1", "50-until.toml", &until).unwrap();
    site.drop_in("m1", "51-timeout.toml", "[ssh]\nidle-timeout = \"3s\"\n").unwrap();
    let nodes: Vec<&str> = hosts[1..].iter().map(|(name, _)| *name).collect();
    let status = night(&mut site, &nodes);
    assert_eq!(verdict(&status), "degraded");
    all_later_stages_ran(&status);
    for (name, why) in HABITS {
        let report = set_report(&status, &format!("{name}.site.test"), "node");
        let fate = if name == "lies" { "refused" } else { "missing" };
        assert_eq!(report["fate"], fate, "{report:#}");
        assert!(report["reason"].as_str().unwrap().contains(why), "{report:#}");
        assert!(reason(&status, "pull-nodes").contains(name), "{}", reason(&status, "pull-nodes"));
    }
    assert_eq!(set_report(&status, "honest.site.test", "node")["fate"], "pulled");
}

#[test]
fn names_that_lead_out_of_a_directory_are_left_out_of_its_listing() {
    let plan = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]);
    let mut site = plan.hostile("n1", "escapes").build().unwrap();
    let status = night(&mut site, &["n1"]);
    let report = set_report(&status, "n1.site.test", "node");
    assert_eq!(report["fate"], "pulled", "{report:#}");
    assert!(!Path::new("/tmp/escaped").exists());
}

#[test]
fn a_snapshot_that_unpacks_for_ever_is_refused_at_its_first_defect() {
    let mut site = Plan::new(&[("m1", &[Master]), ("e1", &[Etcd])]).build().unwrap();
    site.start("e1").unwrap();
    site.settle("e1").unwrap();
    let set = set_folder(&site, "e1", "e1", "etcd");
    // 4 GiB of zeros in 4 MB.
    shell("head -c 4G /dev/zero | gzip -1 > \"$1/snapshot.db.gz\"", &[&set]);
    let path = set.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let items = manifest["items"].as_array_mut().unwrap();
    let item = items.iter_mut().find(|item| item["path"] == "snapshot.db.gz").unwrap();
    let bomb = fs::read(set.join("snapshot.db.gz")).unwrap();
    (item["size"], item["sha256"]) = (json!(bomb.len()), json!(sha256(&bomb)));
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    fs::remove_file(set.join("manifest.json.sig")).unwrap();
    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    let report = set_report(&status, "e1.site.test", "etcd");
    assert_eq!(report["fate"], "refused", "{report:#}");
    assert!(!set_folder(&site, "m1", "e1", "etcd").exists());
}

#[test]
fn at_until_a_pull_ends_although_a_peer_still_sends_a_byte_now_and_then() {
    let mut site = Plan::new(&[("m1", &[Master]), ("slow", &[Node]), ("honest", &[Node])])
        .hostile("slow", "slow")
        .build()
        .unwrap();
    site.start("slow").unwrap();
    site.start("honest").unwrap();
    site.settle("slow").unwrap();
    site.settle("honest").unwrap();
    let until = format!("[stage.pull-nodes]\nuntil = \"{}\"\n", site.zone().clock(1));
    site.drop_in("m1", "50-until.toml", &until).unwrap();
    site.start("m1").unwrap();
    let status = site.settle_within("m1", NIGHT_ENDS).unwrap();
    assert_eq!(verdict(&status), "degraded");
    all_later_stages_ran(&status);
    let report = set_report(&status, "slow.site.test", "node");
    assert_eq!(report["fate"], "missing", "{report:#}");
    assert!(report["reason"].as_str().unwrap().contains("`until`"), "{report:#}");
}

#[test]
fn text_of_a_peer_cannot_write_on_the_operators_terminal() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).build().unwrap();
    site.start("n1").unwrap();
    site.settle("n1").unwrap();
    let path = set_folder(&site, "n1", "n1", "node").join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let note = "\u{1b}[1A\u{1b}[2K\u{1b}]0;owned\u{7}\nlast good night: 2026-11-26\nnight: complete";
    manifest["notes"] = json!(vec![note; 100_000]);
    manifest["grade"] = json!("degraded");
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    fs::remove_file(path.with_file_name("manifest.json.sig")).unwrap();
    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    let report = set_report(&status, "n1.site.test", "node");
    assert_eq!(report["grade"], "degraded", "{report:#}");
    assert!(report["reason"].as_str().unwrap().len() < 3000, "{report:#}");
    assert_eq!(
        fs::read(set_folder(&site, "m1", "n1", "node").join("manifest.json")).unwrap(),
        fs::read(&path).unwrap()
    );
    for command in [&["status"][..], &["nights"], &["sets"], &["verify"], &["inspect", "--help"]] {
        let ran = site.run("m1", command).unwrap();
        let shown = ran.stdout + &ran.stderr;
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{7}'), "{command:?}: {shown}");
        assert!(!shown.lines().any(|line| line.starts_with("last good night: 2026-11-26")), "{shown}");
    }
}

#[test]
fn errors_that_quote_a_peer_are_short_lines_in_the_record_and_on_the_terminal() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node]), ("n2", &[Node])]).build().unwrap();
    for node in ["n1", "n2"] {
        site.start(node).unwrap();
        site.settle(node).unwrap();
    }
    let forged = "n2.site.test: good, 7 files verified, signed by n2.site.test";
    let path = set_folder(&site, "n1", "n1", "node").join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["grade"] = json!(format!("\n{forged}\n\u{1b}[2J{}", "x".repeat(10 << 20)));
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    let report = set_report(&status, "n1.site.test", "node");
    assert_eq!(report["fate"], "refused", "{report:#}");
    let reason = report["reason"].as_str().unwrap();
    assert!(reason.contains("unknown variant") && reason.len() < 3000, "{} bytes", reason.len());
    assert!(!reason.contains(['\n', '\u{1b}']), "{reason}");
    assert!(site.log("m1").len() < 1 << 20, "{} bytes are logged", site.log("m1").len());

    // A path of a stored set, which any text can be.
    let path = set_folder(&site, "m1", "n2", "node").join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["items"][0]["path"] = json!(format!("x\n{forged}"));
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    for command in [&["verify"][..], &["run", "pull-nodes", "--wait"]] {
        let ran = site.run("m1", command).unwrap();
        let shown = ran.stdout + &ran.stderr;
        assert!(!shown.lines().any(|line| line.starts_with(forged)), "{command:?}: {shown}");
        assert!(!shown.contains('\u{1b}') && shown.len() < 20_000, "{command:?}: {shown}");
    }
}
