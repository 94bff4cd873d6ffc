//! Nights one after the other: what did not change is there once.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use kit::lab::Role::{Master, Node};
use kit::site::Plan;
use kit::site_config::{STAGES, Zone, waits};
use serde_json::Value;

use crate::support::{ends_with, good, names, night_of, set_folder, sets};

#[test]
fn on_the_next_night_unchanged_files_are_links_to_the_last_ones() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).zone(Zone::West).build().unwrap();
    site.night().unwrap();
    let first = night_of(&site, "m1");
    let before = [set_folder(&site, "m1", "n1", "node"), set_folder(&site, "n1", "n1", "node")];
    site.stop_all().unwrap();
    site.lay("n1", "/var/spool/cron/root", b"0 5 * * * /usr/bin/false\n").unwrap();
    site.move_to(Zone::East).unwrap();
    site.night().unwrap();

    assert!(night_of(&site, "m1") > first);
    let after = [set_folder(&site, "m1", "n1", "node"), set_folder(&site, "n1", "n1", "node")];
    for (before, after) in before.iter().zip(&after) {
        let inode = |folder: &std::path::Path, name| fs::metadata(folder.join(name)).unwrap().ino();
        assert_eq!(inode(before, "node-config.yaml"), inode(after, "node-config.yaml"), "{after:?}");
        assert_ne!(inode(before, "root_cron"), inode(after, "root_cron"));
        assert!(fs::read_to_string(before.join("root_cron")).unwrap().contains("true"));
        assert!(fs::read_to_string(after.join("root_cron")).unwrap().contains("false"));
    }
    good(site.run("m1", &["verify"]).unwrap());

    let nights = good(site.run("m1", &["nights", "--json"]).unwrap());
    let nights: Vec<Value> = serde_json::from_str(&nights.stdout).unwrap();
    assert_eq!(nights.len(), 2);
    assert_eq!(nights[1]["night"], first.as_str());
    assert_eq!(nights[1]["closed"]["verdict"], "complete");
    let (_, status) = site.status("m1").unwrap();
    assert_eq!(status["last_good"], first.as_str());
}

#[test]
fn a_night_by_hand_outside_the_schedule_is_an_extra_one_that_a_master_can_fetch() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).build().unwrap();
    let zone = site.zone();
    for host in ["m1", "n1"] {
        let mut text =
            format!("[night]\nopens = \"{}\"\ncloses = \"{}\"\n", zone.clock(120), zone.clock(360));
        for stage in STAGES {
            text.push_str(&format!("[stage.{stage}]\nat = \"{}\"\n", zone.crontab(150)));
            if waits(stage) {
                text.push_str(&format!("until = \"{}\"\n", zone.clock(180)));
            }
        }
        site.drop_in(host, "50-later.toml", &text).unwrap();
        site.start(host).unwrap();
    }
    let busy = ends_with(site.run("n1", &["run", "collect-node"]).unwrap(), 75);
    assert!(busy.stderr.contains("no night is open"), "{busy:?}");

    for night in ["1", "2"] {
        let made = good(site.run("n1", &["run", "night", "--wait"]).unwrap());
        assert!(made.stdout.contains("collect-node done"), "{night}: {made:?}");
    }
    let own = site.host("n1").vault().join("n1.site.test");
    let nights: Vec<String> = names(&own).into_iter().filter(|name| name.starts_with('2')).collect();
    assert_eq!(nights.len(), 2, "{nights:?}");
    assert!(nights[0].ends_with(".1") && nights[1].ends_with(".2"), "{nights:?}");
    let inode = |night: &str| fs::metadata(own.join(night).join("node/root_cron")).unwrap().ino();
    assert_eq!(inode(&nights[0]), inode(&nights[1]));

    good(site.run("m1", &["run", "pull-nodes", "--night", &nights[0], "--wait"]).unwrap());
    let held = sets(&site, "m1");
    assert!(held.contains_key(&format!("n1.site.test/{}/node", nights[0])), "{held:?}");
}
