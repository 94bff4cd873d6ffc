#![allow(clippy::unwrap_used)]
use nightshift_core::fixtures;
use nightshift_core::record::{Expected, Record, StageRecord, StartReason};
use nightshift_core::role::Role;
use nightshift_core::stage::Stage;
use nightshift_engine::status::NightReport;

use super::*;
use crate::out::WIDTH;

fn record(host: &str, at: Timestamp) -> Record {
    let expected = |role| Expected { host: host.parse().unwrap(), role, new: false, any: false };
    let stage = StageRecord {
        attempts: 1,
        started: at,
        why: StartReason::Due,
        ended: Some(at),
        outcome: Some(nightshift_core::outcome::Outcome::Done),
        reason: Some(format!(
            "{host} master: missing: cannot connect to it within 30 s, and no other master has it"
        )),
        duration_ms: 123_456,
    };
    Record {
        format: 1,
        night: "2026-11-25".parse().unwrap(),
        host: host.parse().unwrap(),
        version: "1.0.0".into(),
        opened: at,
        closes: "2026-11-25T10:00:00Z".parse().unwrap(),
        expected: [Role::Etcd, Role::Master, Role::Node].map(expected).into(),
        planned: Stage::ALL.into(),
        remotes: Vec::new(),
        restored: None,
        backup: None,
        stages: Stage::ALL.map(|name| (name, stage.clone())).into(),
        sets: Vec::new(),
        archives: Vec::new(),
        shipped: Vec::new(),
        kits: Vec::new(),
        rechecked: Vec::new(),
        seen: Default::default(),
        proofs: Vec::new(),
        secrets: Vec::new(),
        restorable: None,
        pruned: Vec::new(),
        closed: None,
        newest: at,
    }
}

fn missing(host: &str) -> Reason {
    Reason::new(ReasonCode::SetMissing, format!("{host} master: missing: cannot connect to {host}"))
}

fn report(host: &str, open: bool) -> Report {
    let at: Timestamp = "2026-11-25T06:00:00Z".parse().unwrap();
    let record = record(host, at);
    let reasons = if open { Vec::new() } else { vec![missing(host)] };
    let verdict = if open { Verdict::Complete } else { Verdict::Degraded };
    Report {
        cluster: "production".parse().unwrap(),
        host: host.parse().unwrap(),
        roles: "master, etcd, node".into(),
        night: Some(NightReport {
            unreadable: Vec::new(),
            open,
            settled: true,
            verdict,
            reasons,
            record,
            progress: Vec::new(),
            waits: Vec::new(),
            etcd: Vec::new(),
        }),
        before: Some(Verdict::Degraded),
        before_night: Some("2026-11-24".parse().unwrap()),
        last_restorable: Some("2026-11-24".parse().unwrap()),
        stale: Some(
            "the last restorable night is 2026-11-23, but night 2026-11-24 has closed since then".into(),
        ),
        held: Some(
            "night 2026-11-25: held since 2026-11-25 07:00 CET: the clock is not synchronised; start chronyd"
                .into(),
        ),
        notes: Vec::new(),
        warnings: vec![Reason::new(
            ReasonCode::RecordUnreadable,
            "cannot read the record /var/lib/nightshift/records/2026-11-20.json; move the file elsewhere",
        )],
        ..fixtures::report(at)
    }
}

#[test]
fn every_line_of_status_fits_into_80_columns() {
    for host in ["m1.site.test", "master1.production.datacenter.example.org"] {
        for line in lines(&report(host, false), &TimeZone::get("Europe/Berlin").unwrap()) {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }
}

#[test]
fn a_night_whose_stages_are_done_is_complete_before_it_closes() {
    let report = report("m1.site.test", true);
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let lines = lines(&report, &zone);
    assert!(
        lines.contains(&"night 2026-11-25: complete (closes 2026-11-25 11:00 CET)".to_owned()),
        "{lines:#?}"
    );
    assert!(lines.contains(&"last complete night: none yet".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"last restorable night: 2026-11-24 (degraded)".to_owned()), "{lines:#?}");
}

#[test]
fn an_extra_night_that_is_complete_does_not_hide_the_result_of_the_night_before() {
    let mut report = report("m1.site.test", true);
    (report.stale, report.held, report.warnings) = (None, None, Vec::new());
    report.before = Some(Verdict::Failed);
    let night = report.night.as_mut().unwrap();
    night.record.night = "2026-11-25.1".parse().unwrap();
    let line = summary::line(&report);
    assert!(line.contains("CRITICAL: the previous night is failed"), "{line}");
}
