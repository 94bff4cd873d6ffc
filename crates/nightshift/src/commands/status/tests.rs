#![allow(clippy::unwrap_used)]
use jiff::tz::TimeZone;
use nightshift_core::fixtures;
use nightshift_core::outcome::Verdict;
use nightshift_core::proof::DrillVerdict;
use nightshift_core::record::{Expected, Record, StageRecord, StartReason};
use nightshift_core::role::Role;
use nightshift_core::stage::Stage;
use nightshift_core::status::{RestorableNight, SetDrill};
use nightshift_engine::status::NightReport;

use super::*;
use crate::out::{Size, WIDTH};

fn record(host: &str, at: Timestamp) -> Record {
    let expected =
        |role| Expected { host: host.parse().unwrap(), role, new: false, any: false, last_good: None };
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
        tolerate: None,
        stages: Stage::ALL.map(|name| (name, stage.clone())).into(),
        sets: Vec::new(),
        archives: Vec::new(),
        shipped: Vec::new(),
        kits: Vec::new(),
        hooks: Vec::new(),
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
            gone: Default::default(),
            stopped: false,
            open,
            settled: true,
            verdict,
            reasons,
            tolerated: Vec::new(),
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
fn an_older_set_that_retention_waits_for_waits_for_the_operator() {
    let report = Report {
        awaiting: vec!["e1/2026-11-02/etcd".parse().unwrap()],
        ..fixtures::report("2026-11-25T07:00:00Z".parse().unwrap())
    };
    let lines = blocks::waits(&report).join(" ");
    assert!(lines.contains("e1/2026-11-02/etcd needs a review"), "{lines}");
}

fn zone() -> TimeZone {
    TimeZone::get("Europe/Berlin").unwrap()
}

fn lines(report: &Report) -> Vec<String> {
    screen::lines(report, &zone(), None)
}

#[test]
fn every_line_of_status_fits_into_80_columns() {
    for host in ["m1.site.test", "master1.production.datacenter.example.org"] {
        for size in [None, Some(Size { rows: 24, columns: 80 })] {
            for line in screen::lines(&report(host, false), &zone(), size) {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
        }
    }
}

#[test]
fn a_night_whose_stages_are_done_is_complete_before_it_closes() {
    let report = report("m1.site.test", true);
    let lines = lines(&report);
    assert!(
        lines.contains(&"night 2026-11-25: complete (closes 2026-11-25 11:00 CET)".to_owned()),
        "{lines:#?}"
    );
    assert!(lines.contains(&"last restorable night: 2026-11-24 (degraded)".to_owned()), "{lines:#?}");
}

/// A night with many missing nodes.
fn bad_night(nodes: usize) -> Report {
    let mut report = report("m1.site.test", false);
    (report.stale, report.before) = (None, None);
    let night = report.night.as_mut().unwrap();
    night.reasons = (0..nodes).map(|number| missing(&format!("node{number}.site.test"))).collect();
    for number in 0..nodes {
        let host = format!("node{number}.site.test").parse().unwrap();
        night.record.expected.push(Expected {
            host,
            role: Role::Node,
            new: false,
            any: false,
            last_good: None,
        });
    }
    report
}

#[test]
fn on_a_small_terminal_the_verdict_what_is_missing_and_what_an_operator_must_do_are_on_the_first_screen() {
    let lines = screen::lines(&bad_night(40), &zone(), Some(Size { rows: 24, columns: 80 }));
    assert!(lines.len() < 24, "{lines:#?}");
    assert_eq!(lines[1], "WARNING: night 2026-11-25 is degraded");
    let place = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap();
    let places = ["last restorable", "missing:", "  ! node0", "now: ", "space: ", "waits for you:", "HELD: "]
        .map(place);
    assert!(places.is_sorted(), "{lines:#?}");
    assert!(lines.iter().any(|line| line.ends_with("more lines: nightshift status | less")), "{lines:#?}");
}

#[test]
fn a_wide_terminal_shows_two_columns_and_no_line_is_lost() {
    let report = bad_night(3);
    let wide = screen::lines(&report, &zone(), Some(Size { rows: 50, columns: 200 }));
    assert!(wide.len() < 50 && wide.iter().all(|line| line.chars().count() <= 200), "{wide:#?}");
    let shown = wide.join("\n");
    for line in lines(&report) {
        assert!(shown.contains(line.trim_end()), "{line} in {shown}");
    }
}

#[test]
fn the_last_restorable_night_has_an_age_and_names_who_proved_it_or_that_nothing_was_checked() {
    let mut report = report("m1.site.test", true);
    let set = "e1/2026-11-24/etcd".parse().unwrap();
    let at = "2026-11-24T23:20:00Z".parse().unwrap();
    let drill = SetDrill { set, by: "e2".parse().unwrap(), at, verdict: DrillVerdict::Proved };
    let opened = "2026-11-24T21:00:00Z".parse().unwrap();
    let mut shown = |etcd_sets, drill| {
        report.restorable = Some(RestorableNight { opened, etcd_sets, drill });
        lines(&report).join("\n")
    };
    let proved = shown(3, Some(drill.clone()));
    assert!(proved.contains("last restorable night: 2026-11-24 (degraded), 9 h old"), "{proved}");
    assert!(proved.contains("  proved by e2, 2026-11-25 00:20 CET, with the etcd set of e1"), "{proved}");
    let failed = shown(3, Some(SetDrill { verdict: DrillVerdict::NotRestorable, ..drill }));
    assert!(failed.contains("  DOES NOT RESTORE, found by e2, "), "{failed}");
    assert!(shown(3, None).contains("  proof: unchecked, because this host has no result of a drill"));
    assert!(shown(0, None).contains("  proof: unchecked, because this host has no etcd set of it"));
}

#[test]
fn a_running_pull_has_its_count_its_rate_and_the_time_that_is_left() {
    let mut report = report("m1.site.test", true);
    let night = report.night.as_mut().unwrap();
    let pull = night.record.stages.get_mut(&Stage::PullNodes).unwrap();
    (pull.outcome, pull.ended) = (None, None);
    pull.started = report.at - jiff::SignedDuration::from_mins(4);
    (night.settled, night.progress) = (false, vec![("pull-nodes".into(), "10/40".into())]);
    let shown = lines(&report);
    let line = "now: pull-nodes, 10 of 40, 2.5 per minute, about 12 min left, for 4 min".to_owned();
    assert!(shown.contains(&line), "{shown:#?}");
    assert!(shown.contains(&"missing: unchecked until the stages end".to_owned()), "{shown:#?}");
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

#[test]
fn a_night_that_cannot_be_recorded_is_critical_and_the_first_problem() {
    let mut report = Report { stale: None, held: None, before: None, ..report("m1", true) };
    let text = "night 2026-11-25 is open, but its record cannot be written: No space left on device";
    report.warnings.push(Reason::new(ReasonCode::RecordUnwritten, text));
    let (state, output) = summary::plugin(&report);
    assert_eq!(state, crate::exit::PluginState::Critical);
    assert!(output.starts_with(&format!("NIGHTSHIFT CRITICAL - {text} | ")), "{output}");
    assert!(summary::verdict(&report).contains("cannot be recorded"));
}

#[test]
fn the_number_of_missing_sets_is_left_out_while_it_is_unknown() {
    let mut report = report("m1", false);
    let has_number =
        |report: &Report| summary::plugin(report).1.contains(" sets_missing=3;;;0 warnings=1;;;0");
    let is_left_out = |report: &Report| summary::plugin(report).1.contains(" | warnings=1;;;0");
    assert!(has_number(&report) && !is_left_out(&report));
    report.night.as_mut().unwrap().settled = false;
    assert!(is_left_out(&report), "its stages run");
    report.night = None;
    assert!(is_left_out(&report), "no night is recorded");
}

#[test]
fn nothing_runs_now_in_a_night_without_a_daemon() {
    let mut report = report("m1", true);
    let night = report.night.as_mut().unwrap();
    night.settled = false;
    night.record.stages.get_mut(&Stage::PullNodes).unwrap().outcome = None;
    let shown = |report: &Report| lines(report).join("\n");
    let running = shown(&report);
    assert!(running.contains("now: pull-nodes, for") && running.contains(": running (closes"), "{running}");
    report.night.as_mut().unwrap().stopped = true;
    let stopped = shown(&report);
    assert!(!stopped.contains("running (") && stopped.contains(": interrupted (closes"), "{stopped}");
    assert!(stopped.contains("now: no stage is running, because the daemon does not run"), "{stopped}");
    let row = stopped.lines().find(|line| line.trim_start().starts_with("pull-nodes ")).unwrap();
    assert!(row.contains("interrupted"), "{row}");
}
