//! A reload of an edited configuration.

use kit::lab::Role::{Master, Node};
use kit::proxy::Way;
use kit::site::{Plan, Site};
use rustix::process::Signal;

use crate::support::{SOON, ends_with, good, names, night_of, outcome, set_folder, wait_for_set};

/// A node whose collect-node stage starts in an hour.
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
fn sighup_reloads_too() {
    let site = node_that_waits();
    collect_at(&site, -1);
    site.host("n1").daemon().signal(Signal::HUP).unwrap();
    wait_for_set(&site, "n1", "n1", "node");
}

#[test]
fn an_invalid_configuration_is_refused_with_its_diagnostics_and_the_old_settings_stay() {
    let site = node_that_waits();
    site.drop_in("n1", "60-mistake.toml", "[stage.collect-node]\natt = \"0 1 * * *\"\n").unwrap();
    collect_at(&site, -1);
    let refused = ends_with(site.run("n1", &["reload"]).unwrap(), 78);
    for part in ["60-mistake.toml:2:1", "att = ", "^^^", "continues with the old one"] {
        assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
    }
    site.host("n1").daemon().signal(Signal::HUP).unwrap();
    let log = "requested by SIGHUP";
    site.host("n1").daemon().wait_log(log, SOON).unwrap();
    assert!(site.log("n1").contains("the new configuration is invalid"));
    assert_eq!(codes(&site), ["config-refused"]);
    good(site.run("n1", &["metrics"]).unwrap());

    // As long as one file is invalid, the valid one has no effect either.
    site.drop_in("n1", "60-mistake.toml", "").unwrap();
    let (_, status) = site.status("n1").unwrap();
    assert_eq!(outcome(&status, "collect-node"), "none");
    good(site.run("n1", &["reload"]).unwrap());
    assert_eq!(codes(&site), [""; 0]);
    site.drop_in("n1", "60-mistake.toml", "[vault]\nmin-free = \"2MiB\"\n").unwrap();
    assert_eq!(codes(&site), ["config-differs"]);
    let checked = site.run("n1", &["check"]).unwrap();
    assert!(checked.stderr.contains("is not the one in force"), "{checked:?}");
    wait_for_set(&site, "n1", "n1", "node");
}

#[test]
fn a_reload_cannot_change_the_identity_of_the_host() {
    let site = node_that_waits();
    site.drop_in("n1", "60-other.toml", "[cluster]\nname = \"other\"\n").unwrap();
    let refused = ends_with(site.run("n1", &["reload"]).unwrap(), 78);
    assert!(refused.stderr.contains("only with a restart"), "{refused:?}");
    assert_eq!(codes(&site), ["config-refused"]);
}

/// What the status of n1 warns of.
fn codes(site: &Site) -> Vec<String> {
    let (_, status) = site.status("n1").unwrap();
    let warnings = status["warnings"].as_array().cloned().unwrap_or_default();
    warnings.iter().map(|warning| warning["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_reload_during_an_extra_night_changes_its_files_from_the_next_night_on() {
    let plan: &[(&str, &[_])] = &[("m1", &[Master]), ("n1", &[Node])];
    let mut site = Plan::new(plan).proxied("n1").build().unwrap();
    for host in ["m1", "n1"] {
        site.between_nights(host).unwrap();
        site.start(host).unwrap();
    }
    good(site.run("m1", &["run", "night", "--wait"]).unwrap());
    let date = night_of(&site, "m1").strip_suffix(".1").unwrap().to_owned();
    let [second, third] = [2, 3].map(|extra| format!("{date}.{extra}"));

    // n1 does not answer, so the pull waits and the night stays open.
    site.host("n1").proxy.as_ref().unwrap().hold_after(Way::Down, 0);
    good(site.run("m1", &["run", "pull-nodes", "--night", &second]).unwrap());
    site.lay("m1", "/etc/extra", b"extra").unwrap();
    let extra = format!("[files]\nmaster = [\"{}\"]\n", site.source("m1", "/etc/extra").display());
    site.drop_in("m1", "60-files.toml", &extra).unwrap();
    good(site.run("m1", &["reload"]).unwrap());
    good(site.run("m1", &["run", "collect-master", "--night", &second, "--wait"]).unwrap());
    let collected = names(&set_folder(&site, "m1", "m1", "master"));
    assert!(collected.contains(&"root_cron".to_owned()), "{collected:?}");

    site.host("n1").proxy.as_ref().unwrap().release();
    site.settle("m1").unwrap();
    good(site.run("m1", &["run", "collect-master", "--night", &third, "--wait"]).unwrap());
    let collected = names(&set_folder(&site, "m1", "m1", "master"));
    assert!(!collected.contains(&"root_cron".to_owned()), "{collected:?}");
}
