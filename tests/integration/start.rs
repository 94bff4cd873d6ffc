//! Starting with a config that will not do, and commands while the daemon is away.

use std::fs;

use kit::lab::Role::Node;
use kit::site::Plan;

use crate::support::{ends_with, good};

#[test]
fn a_wrong_config_ends_the_start_with_78_and_its_diagnostics() {
    let site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.drop_in("n1", "60-mistake.toml", "[night]\nopens = \"25:00\"\n").unwrap();
    let refused = ends_with(site.run("n1", &["daemon"]).unwrap(), 78);
    for part in ["60-mistake.toml:2:9", "opens = \"25:00\"", "^^^"] {
        assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
    }
    assert!(!site.host("n1").state().exists(), "nothing was begun");
}

#[test]
fn a_missing_config_ends_the_start_with_78_and_its_path() {
    let site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    fs::remove_file(site.host("n1").config()).unwrap();
    let refused = ends_with(site.run("n1", &["daemon"]).unwrap(), 78);
    assert!(refused.stderr.contains("nightshift.toml"), "{refused:?}");
}

#[test]
fn a_host_without_a_role_does_not_start() {
    let site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.drop_in("n1", "60-name.toml", "[this-host]\nname = \"stranger.site.test\"\n").unwrap();
    let refused = ends_with(site.run("n1", &["daemon"]).unwrap(), 78);
    assert!(refused.stderr.contains("stranger.site.test"), "{refused:?}");
}

#[test]
fn with_the_daemon_away_what_is_on_disk_can_be_read_and_nothing_can_be_started() {
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    site.stop_all().unwrap();

    let status = good(site.run("n1", &["status"]).unwrap());
    assert!(status.stdout.contains("daemon not running"), "{status:?}");
    assert!(status.stdout.contains("collect-node") && status.stdout.contains("done"), "{status:?}");
    for words in [["nights", "--json"], ["sets", "--json"], ["plan", "--json"]] {
        good(site.run("n1", &words).unwrap());
    }
    good(site.run("n1", &["verify"]).unwrap());
    for words in [&["run", "collect-node"][..], &["run", "night", "--wait"], &["reload"]] {
        let away = ends_with(site.run("n1", words).unwrap(), 75);
        assert!(away.stderr.contains("is it running?"), "{away:?}");
    }
}
