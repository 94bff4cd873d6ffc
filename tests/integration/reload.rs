//! An edited config under a running daemon.

use kit::lab::Role::Node;
use kit::site::{Plan, Site};
use rustix::process::Signal;

use crate::support::{SOON, ends_with, good, outcome, set_folder, wait_for_set};

/// A node whose only stage that makes something is an hour away.
fn node_that_waits() -> Site {
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    collect_at(&site, 60);
    site.start("n1").unwrap();
    assert!(!set_folder(&site, "n1", "n1", "node").exists());
    site
}

fn collect_at(site: &Site, minutes: i64) {
    let text = format!("[stage.collect-node]\nat = \"{}\"\n", site.zone().crontab(minutes));
    site.drop_in("n1", "50-times.toml", &text).unwrap();
}

#[test]
fn new_times_of_stages_that_have_not_begun_count_tonight() {
    let site = node_that_waits();
    collect_at(&site, -1);
    let reloaded = good(site.run("n1", &["reload"]).unwrap());
    assert!(reloaded.stdout.contains("in force"), "{reloaded:?}");
    wait_for_set(&site, "n1", "n1", "node");
}

#[test]
fn sighup_takes_the_edited_config_too() {
    let site = node_that_waits();
    collect_at(&site, -1);
    site.host("n1").daemon().signal(Signal::HUP).unwrap();
    wait_for_set(&site, "n1", "n1", "node");
}

#[test]
fn a_bad_edit_is_refused_with_its_diagnostics_and_the_old_settings_go_on() {
    let site = node_that_waits();
    site.drop_in("n1", "60-mistake.toml", "[stage.collect-node]\natt = \"0 1 * * *\"\n").unwrap();
    collect_at(&site, -1);
    let refused = ends_with(site.run("n1", &["reload"]).unwrap(), 78);
    for part in ["60-mistake.toml:2:1", "att = ", "^^^", "continues with the old one"] {
        assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
    }
    site.host("n1").daemon().signal(Signal::HUP).unwrap();
    let log = "asked by SIGHUP";
    site.host("n1").daemon().wait_log(log, SOON).unwrap();
    assert!(site.log("n1").contains("the config is refused"));

    // Mended, the other edit counts; until then nothing of either did.
    site.drop_in("n1", "60-mistake.toml", "").unwrap();
    let (_, status) = site.status("n1").unwrap();
    assert_eq!(outcome(&status, "collect-node"), "none");
    good(site.run("n1", &["reload"]).unwrap());
    wait_for_set(&site, "n1", "n1", "node");
}

#[test]
fn what_cannot_change_under_a_running_daemon_is_refused() {
    let site = node_that_waits();
    site.drop_in("n1", "60-other.toml", "[cluster]\nname = \"other\"\n").unwrap();
    let refused = ends_with(site.run("n1", &["reload"]).unwrap(), 78);
    assert!(refused.stderr.contains("only with a restart"), "{refused:?}");
}
