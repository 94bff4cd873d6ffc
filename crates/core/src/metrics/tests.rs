#![allow(clippy::unwrap_used)]
use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::fixtures;
use crate::outcome::Outcome;
use crate::reason::{Reason, ReasonCode};
use crate::role::Role;
use crate::stage::Stage;
use crate::status::{ClosedNight, LastRun, LastSet, LastSnapshot, Space};

const NOW: &str = "2026-11-23T09:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn report(facts: Option<Facts>) -> Report {
    Report {
        roles: "master, etcd".into(),
        before: Some(Verdict::Complete),
        opens: at("2026-11-23T21:00:00Z"),
        vault: Some(Space { total: 100, free: 40 }),
        facts,
        ..fixtures::report(at(NOW))
    }
}

/// A master after a good night, with sets of this many nodes.
fn facts(nodes: usize) -> Facts {
    let set = |host: String, role| LastSet {
        host: host.parse().unwrap(),
        role,
        made_at: at("2026-11-22T21:10:00Z"),
        bytes: 5000,
    };
    let run = LastRun { outcome: Outcome::Done, started: at("2026-11-22T21:00:00Z"), duration_ms: 1500 };
    Facts {
        last_closed: Some(ClosedNight { at: at("2026-11-23T03:00:00Z"), verdict: Verdict::Complete }),
        last_restorable: Some(at("2026-11-22T21:00:00Z")),
        stale_from: Some(at("2026-11-24T03:00:00Z")),
        openings: vec![at("2026-11-23T21:00:00Z"), at("2026-11-24T21:00:00Z")],
        stages: Stage::ALL.map(|stage| (stage, run)).into(),
        sets: (0..nodes).map(|number| set(format!("node{number}"), Role::Node)).collect(),
        missing: BTreeMap::from([(Role::Node, 0)]),
        snapshots: vec![LastSnapshot {
            host: "m1".parse().unwrap(),
            made_at: at("2026-11-22T21:00:00Z"),
            revision: 4711,
            keys: None,
            bytes: 4128,
            copies: Some(3),
        }],
        agreement: Some(AgreementState::Agreed),
        ..Facts::default()
    }
}

fn text(report: &Report, now: &str) -> String {
    render(families(report, "1.2.3", at(now))).unwrap()
}

#[test]
fn a_good_night_is_ten_lines_that_every_prometheus_reads() {
    let text = text(&report(Some(facts(1))), NOW);
    for line in [
        "# HELP nightshift_daemon_up 1 if the daemon runs on this host, else 0: then no night opens here",
        "# TYPE nightshift_daemon_up gauge",
        "nightshift_daemon_up 1",
        "nightshift_build_info{version=\"1.2.3\",host=\"m1\",roles=\"master,etcd\"} 1",
        "nightshift_attention 0",
        "nightshift_night_next_open_timestamp_seconds 1795467600",
        "nightshift_night_last_verdict{verdict=\"complete\"} 1",
        "nightshift_night_last_verdict{verdict=\"failed\"} 0",
        "nightshift_stage_last_duration_seconds{stage=\"drill\"} 1.5",
        "nightshift_set_size_bytes{host=\"node0\",role=\"node\"} 5000",
        "nightshift_etcd_agreement{state=\"diverged\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text.ends_with("\n# EOF\n"), "{text}");
}

#[test]
fn what_is_unknown_has_no_series() {
    let text = text(&report(None), NOW);
    let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(series.len(), 4, "{series:?}");
    let text = self::text(&report(Some(facts(1))), NOW);
    for absent in [&SNAPSHOT_KEYS, &LAST_SHIPPED, &DRILL_LAST_PROVED, &SETS_AWAITING] {
        assert!(!text.contains(absent.name), "{}", absent.name);
    }
}

#[test]
fn time_alone_makes_the_backups_stale_and_the_next_night_another_one() {
    let report = report(Some(facts(1)));
    let later = text(&report, "2026-11-24T09:00:00Z");
    for (line, before) in [
        ("nightshift_stale 1", "nightshift_stale 0"),
        ("nightshift_night_next_open_timestamp_seconds 1795554000", "seconds 1795467600"),
        ("nightshift_daemon_up 0", "nightshift_daemon_up 1"),
        ("nightshift_attention 1", "nightshift_attention 0"),
    ] {
        assert!(later.contains(line), "{line} in {later}");
        assert!(text(&report, NOW).contains(before), "{before}");
    }
}

#[test]
fn names_are_unique_and_labels_are_those_that_prometheus_does_not_set_itself() {
    let names: BTreeSet<&str> = TABLE.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), TABLE.len());
    for metric in TABLE {
        assert!(metric.labels.iter().all(|label| !["cluster", "job", "instance"].contains(label)));
        assert!(!metric.help.contains('\n') && !metric.help.ends_with('.'), "{}", metric.name);
    }
}

#[test]
fn each_metric_has_a_panel_and_the_rules_name_only_metrics_of_the_table() {
    let queries = board::queries().join("\n");
    for metric in TABLE {
        assert!(queries.contains(metric.name), "{} is on no panel", metric.name);
    }
    let rules = alerts::rules();
    for word in rules.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()) {
        let is_metric = word.starts_with("nightshift_");
        assert!(!is_metric || TABLE.iter().any(|metric| metric.name == word), "{word}");
    }
}

#[test]
fn a_cluster_of_1000_hosts_has_at_most_5000_series() {
    let text = text(&report(Some(facts(1000))), NOW);
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    println!("{series} series, {} bytes", text.len());
    assert!((2000..=5000).contains(&series), "{series}");
}

#[test]
fn the_documentation_has_each_metric_and_each_alert() {
    let text = include_str!("../../../../docs/metrics.md");
    for Metric { name, labels, help } in TABLE {
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let row = format!("| `{name}` | {labels} | {help} |");
        assert!(text.lines().any(|line| line == row), "docs/metrics.md lacks: {row}");
    }
    for alert in alerts::all() {
        let meaning = alert.text.replace("{{ $labels.", "").replace("{{ $", "").replace(" }}", "");
        let row = format!("| `{}` | {} | {meaning} |", alert.name, alert.severity.as_str());
        assert!(text.lines().any(|line| line == row), "docs/metrics.md lacks: {row}");
    }
}

#[test]
fn a_daemon_that_does_not_answer_and_a_report_from_the_future_are_not_up() {
    let mut report = report(Some(facts(1)));
    assert!(text(&report, "2026-11-20T00:00:00Z").contains("nightshift_daemon_up 0"), "days ahead");
    report.warnings.push(Reason::new(ReasonCode::DaemonSilent, "it did not respond"));
    let silent = text(&report, NOW);
    assert!(
        silent.contains("nightshift_daemon_up 0") && silent.contains("nightshift_attention 1"),
        "{silent}"
    );
}
