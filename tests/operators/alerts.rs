//! The alert rules and the board, as the package installs them, in promtool's simulation: each alert fires in a time made bad on
//! purpose, and clears after a good night.

use std::fmt::Write as _;
use std::fs;

use kit::daemon::program;
use kit::lab::cmd::Cmd;
use serde_json::Value;

use crate::prometheus::programs;

/// Samples in an hour.
const PER_HOUR: usize = 12;

/// One alert, the labels with which it fires and its value then, how many hours the series are bad, and the series: bad and good.
struct Case {
    alert: &'static str,
    labels: &'static [(&'static str, &'static str)],
    value: &'static str,
    hours: usize,
    series: &'static [(&'static str, &'static str, &'static str)],
}

const M1: &[(&str, &str)] = &[("instance", "m1")];

/// A series of the host m1 without further labels.
macro_rules! state {
    ($alert:literal, $hours:literal, $metric:literal, $bad:literal, $good:literal) => {
        Case {
            alert: $alert,
            labels: M1,
            value: $bad,
            hours: $hours,
            series: &[(concat!("nightshift_", $metric, "{instance=\"m1\"}"), $bad, $good)],
        }
    };
}

const CASES: &[Case] = &[
    Case {
        alert: "NightshiftAbsent",
        labels: &[],
        value: "1",
        hours: 2,
        series: &[("nightshift_build_info{instance=\"m1\",version=\"1\"}", "_", "1")],
    },
    state!("NightshiftDaemonDown", 2, "daemon_up", "0", "1"),
    state!("NightshiftStale", 2, "stale", "1", "0"),
    state!("NightshiftAttention", 2, "attention", "1", "0"),
    state!("NightshiftConfigRefused", 2, "config_reload_ok", "0", "1"),
    Case {
        alert: "NightshiftNightFailed",
        labels: &[("instance", "m1"), ("verdict", "failed")],
        value: "1",
        hours: 2,
        series: &[("nightshift_night_last_verdict{instance=\"m1\",verdict=\"failed\"}", "1", "0")],
    },
    Case {
        alert: "NightshiftNightDegraded",
        labels: &[("instance", "m1"), ("verdict", "degraded")],
        value: "1",
        hours: 2,
        series: &[("nightshift_night_last_verdict{instance=\"m1\",verdict=\"degraded\"}", "1", "0")],
    },
    // Two masters have it: only the newer one counts, so the alert fires once and clears as soon as one has a new set.
    Case {
        alert: "NightshiftSetOld",
        labels: &[("host", "n1"), ("role", "node")],
        value: "180600",
        hours: 51,
        series: &[
            (
                "nightshift_set_last_good_timestamp_seconds{instance=\"m1\",host=\"n1\",role=\"node\"}",
                "2400",
                "183600",
            ),
            (
                "nightshift_set_last_good_timestamp_seconds{instance=\"m2\",host=\"n1\",role=\"node\"}",
                "0",
                "0",
            ),
        ],
    },
    Case {
        alert: "NightshiftSetsMissing",
        labels: &[("instance", "m1"), ("role", "node")],
        value: "3",
        hours: 2,
        series: &[("nightshift_sets_missing{instance=\"m1\",role=\"node\"}", "3", "0")],
    },
    Case {
        alert: "NightshiftSetAwaitsAcceptance",
        labels: &[("instance", "m1"), ("role", "etcd")],
        value: "1",
        hours: 2,
        series: &[("nightshift_sets_awaiting_acceptance{instance=\"m1\",role=\"etcd\"}", "1", "0")],
    },
    Case {
        alert: "NightshiftEtcdSnapshotOld",
        labels: &[],
        value: "132600",
        hours: 37,
        series: &[("nightshift_etcd_snapshot_timestamp_seconds{instance=\"m1\",host=\"e1\"}", "0", "133200")],
    },
    Case {
        alert: "NightshiftEtcdDiverged",
        labels: &[("instance", "m1"), ("state", "diverged")],
        value: "1",
        hours: 2,
        series: &[("nightshift_etcd_agreement{instance=\"m1\",state=\"diverged\"}", "1", "0")],
    },
    Case {
        alert: "NightshiftEtcdFewCopies",
        labels: &[],
        value: "1",
        hours: 14,
        series: &[("nightshift_etcd_copies{instance=\"m1\",host=\"e1\"}", "1", "4")],
    },
    Case {
        alert: "NightshiftDrillFailed",
        labels: &[("instance", "m1"), ("host", "e1"), ("verdict", "not-restorable")],
        value: "1",
        hours: 2,
        series: &[(
            "nightshift_drill_last_verdict{instance=\"m1\",host=\"e1\",verdict=\"not-restorable\"}",
            "1",
            "0",
        )],
    },
    Case {
        alert: "NightshiftDrillOld",
        labels: &[],
        value: "651000",
        hours: 181,
        series: &[(
            "nightshift_drill_last_proved_timestamp_seconds{instance=\"m1\",host=\"e1\"}",
            "0",
            "651600",
        )],
    },
    Case {
        alert: "NightshiftNotShipped",
        labels: &[("instance", "m1"), ("remote", "backup")],
        value: "183000",
        hours: 51,
        series: &[(
            "nightshift_archive_last_shipped_timestamp_seconds{instance=\"m1\",remote=\"backup\"}",
            "0",
            "183600",
        )],
    },
    Case {
        alert: "NightshiftArchivesWait",
        labels: &[("instance", "m1"), ("remote", "backup")],
        value: "2",
        hours: 8,
        series: &[("nightshift_archives_waiting{instance=\"m1\",remote=\"backup\"}", "2", "0")],
    },
    Case {
        alert: "NightshiftVaultFull",
        labels: M1,
        value: "0.05",
        hours: 2,
        series: &[
            ("nightshift_vault_free_bytes{instance=\"m1\"}", "5", "50"),
            ("nightshift_vault_size_bytes{instance=\"m1\"}", "100", "100"),
        ],
    },
    Case {
        alert: "NightshiftCertificateExpires",
        labels: &[("host", "m1"), ("certificate", "etc/etcd/server.crt")],
        value: "79800",
        hours: 2,
        series: &[(
            "nightshift_certificate_not_after_timestamp_seconds{instance=\"m1\",host=\"m1\",certificate=\"etc/etcd/server.crt\"}",
            "86400",
            "99999999",
        )],
    },
];

/// The case as a test of promtool's.
fn test(case: &Case, rules: &str) -> String {
    let Case { alert, labels, hours, series, .. } = case;
    let (bad, good) = (hours * PER_HOUR - 1, 2 * PER_HOUR);
    let mut text = String::from("- interval: 5m\n  input_series:\n");
    for (name, was, is) in *series {
        writeln!(text, "  - series: '{name}'\n    values: '{was}x{bad} {is}x{good}'").unwrap();
    }
    let labels: String = labels.iter().map(|(name, value)| format!(", {name}: \"{value}\"")).collect();
    writeln!(
        text,
        "  alert_rule_test:\n  - eval_time: {}m\n    alertname: {alert}\n    exp_alerts:\n    \
         - exp_labels: {{ severity: {}{labels} }}\n      exp_annotations: {{ summary: '{}' }}\n  \
         - eval_time: {}m\n    alertname: {alert}\n    exp_alerts: []",
        hours * 60 - 10,
        field(rules, alert, "severity: "),
        summary(case, rules).replace('\'', "''"),
        hours * 60 + 30
    )
    .unwrap();
    text
}

/// A field of a rule.
fn field<'a>(rules: &'a str, alert: &str, key: &str) -> &'a str {
    let rule =
        rules.split(&format!("- alert: {alert}\n")).nth(1).unwrap_or_else(|| panic!("no alert {alert}"));
    rule.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap()
}

/// The rule's text with what Prometheus puts in for its templates.
fn summary(case: &Case, rules: &str) -> String {
    let mut text = field(rules, case.alert, "summary: ").trim_matches('\'').replace("''", "'");
    for (name, value) in case.labels {
        text = text.replace(&format!("{{{{ $labels.{name} }}}}"), value);
    }
    text.replace("{{ $value }}", case.value)
}

#[test]
fn each_alert_fires_in_a_bad_time_and_clears_after_a_good_night() {
    if !programs() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    Cmd::new(program().unwrap()).arg("generate").arg(directory.path()).run().unwrap();
    let metrics = directory.path().join("metrics");
    let rules = metrics.join("alerts.yml");
    println!("{}", Cmd::new("promtool").args(["check", "rules"]).arg(&rules).run().unwrap().text());
    let text = fs::read_to_string(&rules).unwrap();
    for alert in text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(CASES.iter().any(|case| case.alert == alert), "{alert} has no test");
    }
    let tests: String = CASES.iter().map(|case| test(case, &text)).collect();
    let file = metrics.join("tests.yml");
    fs::write(&file, format!("rule_files: [alerts.yml]\nevaluation_interval: 5m\ntests:\n{tests}")).unwrap();
    println!("{}", Cmd::new("promtool").args(["test", "rules"]).arg(&file).run().unwrap().text());

    let board = fs::read_to_string(metrics.join("nightshift.json")).unwrap();
    let board: Value = serde_json::from_str(&board).unwrap();
    let queries: Vec<&str> = board["panels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["targets"][0]["expr"].as_str().unwrap())
        .collect();
    // Each query is one that Prometheus parses: as the expression of a rule.
    let mut as_rules = String::from("groups:\n- name: board\n  rules:\n");
    for (at, query) in queries.iter().enumerate() {
        writeln!(as_rules, "  - record: board:{at}\n    expr: '{query}'").unwrap();
    }
    let file = metrics.join("board.yml");
    fs::write(&file, as_rules).unwrap();
    Cmd::new("promtool").args(["check", "rules"]).arg(&file).run().unwrap();
}
