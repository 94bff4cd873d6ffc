//! Metrics: on request, over HTTP and for node_exporter.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kit::daemon::program;
use kit::lab::Role::{BackupServer, Etcd, Master, Node};
use kit::lab::cmd::{Cmd, poll};
use kit::pki::Authority;
use kit::site::{Plan, Site};
use serde_json::Value;

use crate::support::{SOON, ends_with, good};

fn master_etcd_and_node() -> Plan {
    Plan::new(&[("m1", &[Master, Etcd]), ("n1", &[Node]), ("backup", &[BackupServer])])
}

/// The series of a text, each with its value.
fn series(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

fn metrics(site: &Site, host: &str) -> String {
    good(site.run(host, &["metrics"]).unwrap()).stdout
}

fn http(report: &Path, request: &str) -> String {
    let answer = Cmd::new(program().unwrap()).arg("metrics-serve").arg(report).stdin(request.as_bytes());
    answer.run().unwrap().text()
}

#[test]
fn a_night_is_in_the_metrics_of_all_three_doors_and_a_killed_daemon_changes_only_that_it_is_down() {
    let mut site = master_etcd_and_node().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let textfile = folder.path().join("nightshift.prom");
    site.drop_in("m1", "50-metrics.toml", &format!("[metrics]\ntextfile = \"{}\"\n", textfile.display()))
        .unwrap();
    let authority = Authority::create(folder.path(), "ca", "/CN=etcd-signer", 90).unwrap();
    site.lay("m1", "/etc/etcd/ca.crt", &authority.pair().unwrap().certificate).unwrap();
    site.night().unwrap();

    let asked = metrics(&site, "m1");
    let found = series(&asked);
    for (name, value) in [
        ("nightshift_daemon_up", 1.0),
        ("nightshift_attention", 0.0),
        ("nightshift_sets_missing{role=\"node\"}", 0.0),
        ("nightshift_stage_last_outcome{stage=\"pull-nodes\",outcome=\"done\"}", 1.0),
        ("nightshift_stage_last_outcome{stage=\"pull-nodes\",outcome=\"failed\"}", 0.0),
        ("nightshift_drill_last_verdict{host=\"m1.site.test\",verdict=\"proved\"}", 1.0),
        ("nightshift_etcd_copies{host=\"m1.site.test\"}", 2.0),
        ("nightshift_archives_waiting{remote=\"backup-server\"}", 0.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name} in {asked}");
    }
    for name in [
        "nightshift_set_last_good_timestamp_seconds{host=\"n1.site.test\",role=\"node\"}",
        "nightshift_archive_last_shipped_timestamp_seconds{remote=\"backup-server\"}",
        "nightshift_etcd_snapshot_size_bytes{host=\"m1.site.test\"}",
        "nightshift_vault_free_bytes",
    ] {
        assert!(found.get(name).is_some_and(|value| *value > 0.0), "{name} in {asked}");
    }

    let certificate = asked.lines().find(|line| {
        line.starts_with(
            "nightshift_certificate_not_after_timestamp_seconds{host=\"m1.site.test\",certificate=\"",
        ) && line.contains("etc/etcd/ca.crt\"} ")
    });
    assert!(certificate.is_some(), "{asked}");

    // What changes from one moment to the next.
    let steady = |text: &str| {
        let changes = ["free_bytes", "build_info", "next_open"];
        let lines = text.lines().filter(|line| !changes.iter().any(|change| line.contains(change)));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let report = site.host("m1").state().join("metrics/status.json");
    let served = || {
        let answer = http(&report, "GET /metrics HTTP/1.1\r\nHost: m1\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{answer}");
        body.to_owned()
    };
    poll("the doors agree", SOON, || {
        let written = fs::read_to_string(&textfile).unwrap_or_default();
        let doors = [steady(metrics(&site, "m1").trim_end()), steady(served().trim_end()), steady(&written)];
        if doors[0] == doors[1] && doors[1] == doors[2] { Ok(()) } else { Err(format!("{doors:#?}")) }
    })
    .unwrap();

    site.host_mut("m1").daemon.take().unwrap().kill().unwrap();
    let down = metrics(&site, "m1");
    let without = |text: &str| {
        let mut lines = steady(text.trim_end());
        lines.retain(|line| {
            !line.starts_with("nightshift_daemon_up") && !line.starts_with("nightshift_attention")
        });
        lines
    };
    assert_eq!(without(&down), without(&asked));
    assert_eq!((series(&down)["nightshift_daemon_up"], series(&down)["nightshift_attention"]), (0.0, 1.0));
    // Also where an edit of the config is why the daemon does not run.
    site.drop_in("m1", "60-broken.toml", "xx\n").unwrap();
    good(site.run("m1", &["metrics-stopped"]).unwrap());
    for text in [served(), fs::read_to_string(&textfile).unwrap()] {
        assert_eq!(without(&text), without(&asked));
        assert_eq!(series(&text)["nightshift_daemon_up"], 0.0);
    }
}

#[test]
fn a_textfile_that_cannot_be_written_is_a_finding_of_check_and_harms_no_night() {
    let mut site = Plan::new(&[("m1", &[Master])]).build().unwrap();
    site.drop_in("m1", "50-metrics.toml", "[metrics]\ntextfile = \"/nowhere/at/all/nightshift.prom\"\n")
        .unwrap();
    site.night().unwrap();
    let (code, status) = site.status("m1").unwrap();
    assert_eq!((code, &status["night"]["verdict"]), (0, &Value::from("complete")), "{status:#}");
    let checked = site.run("m1", &["check"]).unwrap();
    let all = format!("{}{}", checked.stdout, checked.stderr);
    assert!(all.contains("nightshift.prom: its directory does not exist"), "{all}");
    assert_eq!(checked.code, 0, "{all}");
    site.drop_in("m1", "50-metrics.toml", "[metrics]\ntextfile = \"/tmp/nightshift.txt\"\n").unwrap();
    let refused = ends_with(site.run("m1", &["check"]).unwrap(), 78);
    assert!(refused.stderr.contains("does not end in `.prom`"), "{refused:?}");
}

#[test]
fn a_refused_reload_is_in_the_metrics_until_one_succeeds() {
    let mut site = Plan::new(&[("m1", &[Master])]).build().unwrap();
    site.start("m1").unwrap();
    let reload_ok = || series(&metrics(&site, "m1"))["nightshift_config_reload_ok"];
    assert_eq!(reload_ok(), 1.0);
    site.drop_in("m1", "50-wrong.toml", "[vault]\nmin-free = \"lots\"\n").unwrap();
    ends_with(site.run("m1", &["reload"]).unwrap(), 78);
    let report = site.host("m1").state().join("metrics/status.json");
    poll("the refused reload", SOON, || {
        let text = http(&report, "GET /metrics HTTP/1.1\r\n\r\n");
        if text.contains("nightshift_config_reload_ok 0") { Ok(()) } else { Err(text) }
    })
    .unwrap();
    site.drop_in("m1", "50-wrong.toml", "").unwrap();
    good(site.run("m1", &["reload"]).unwrap());
    assert_eq!(reload_ok(), 1.0);
}
