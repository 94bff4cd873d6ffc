//! Starting with an invalid configuration, and commands while the daemon does not run.

use std::fs;

use kit::lab::Role::Node;
use kit::site::Plan;

use crate::support::{ends_with, good};

#[test]
fn with_an_invalid_config_the_daemon_exits_with_78_and_the_diagnostics() {
    let site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.drop_in("n1", "60-mistake.toml", "[night]\nopens = \"25:00\"\n").unwrap();
    let refused = ends_with(site.run("n1", &["daemon"]).unwrap(), 78);
    for part in ["60-mistake.toml:2:9", "opens = \"25:00\"", "^^^"] {
        assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
    }
    assert!(!site.host("n1").state().exists(), "nothing was created");
}

#[test]
fn with_a_missing_config_the_daemon_exits_with_78_and_the_path() {
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
fn without_a_daemon_everything_on_disk_can_be_read_and_nothing_can_be_started() {
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    site.stop_all().unwrap();

    let status = ends_with(site.run("n1", &["status"]).unwrap(), 3);
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
