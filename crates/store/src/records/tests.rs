#![allow(clippy::unwrap_used)]
use std::fs;

use nightshift_core::hook::Occasion;
use nightshift_core::kept::KeptNight;
use nightshift_core::outcome::{Outcome, Verdict};
use nightshift_core::record::{HookReport, StartReason};
use nightshift_core::stage::Stage;

use super::*;

fn night(text: &str) -> Night {
    text.parse().unwrap()
}

fn opened(night: Night) -> Step {
    Step::Opened {
        format: 1,
        night,
        host: "m1".parse().unwrap(),
        version: "0".into(),
        closes: "2026-11-23T03:00:00Z".parse().unwrap(),
        expected: vec![],
        stages: vec![Stage::CollectNode],
        remotes: vec![],
        restored: None,
        backup: None,
        tolerate: None,
    }
}

fn started() -> Step {
    Step::Started { stage: Stage::CollectNode, attempt: 1, why: StartReason::Due }
}

fn ended(reason: &str) -> Step {
    Step::Ended {
        stage: Stage::CollectNode,
        attempt: 1,
        outcome: Outcome::Failed,
        reason: Some(reason.into()),
        duration_ms: 1,
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    records: Records,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::new(dir.path().join("records"));
    Fixture { dir, records }
}

impl Fixture {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("records").join(name)
    }

    fn newest(&self) -> Option<Record> {
        let now = Timestamp::now();
        self.records.past(now).unwrap().newest(now).cloned()
    }

    fn close(&self, of: Night) {
        let log = self.records.open(of).unwrap();
        log.note(opened(of)).unwrap();
        log.note(Step::Closed { verdict: Verdict::Complete, reasons: vec![] }).unwrap();
        self.records.close(&log.record().unwrap()).unwrap();
    }
}

#[test]
fn a_noted_step_is_there_after_a_restart_of_the_daemon() {
    let fixture = fixture();
    let tonight = night("2026-11-22");
    let log = fixture.records.open(tonight).unwrap();
    log.note(opened(tonight)).unwrap();
    log.note(started()).unwrap();
    drop(log);
    let record = fixture.records.open(tonight).unwrap().record().unwrap();
    assert_eq!(record.stages[&Stage::CollectNode].outcome, None);
    assert_eq!(fixture.newest().unwrap(), record);
}

#[test]
fn an_incomplete_line_does_not_damage_the_others() {
    let fixture = fixture();
    let tonight = night("2026-11-22");
    let log = fixture.records.open(tonight).unwrap();
    log.note(opened(tonight)).unwrap();
    log.note(started()).unwrap();
    log.note(ended("größer als erwartet")).unwrap();
    let path = fixture.path("2026-11-22.jsonl");
    let whole = fs::read(&path).unwrap();
    // Truncated at each byte, also in the middle of a character.
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for cut in last..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let record = fixture.newest().unwrap();
        assert!(record.stages[&Stage::CollectNode].attempts == 1, "cut at {cut}");
        let log = fixture.records.open(tonight).unwrap();
        log.note(ended("again")).unwrap();
        let record = fixture.records.read(tonight).unwrap().unwrap();
        assert_eq!(record.stages[&Stage::CollectNode].reason.as_deref(), Some("again"), "cut at {cut}");
    }
}

#[test]
fn an_incomplete_last_line_is_cut_off() {
    let fixture = fixture();
    let tonight = night("2026-11-22");
    fixture.records.open(tonight).unwrap().note(opened(tonight)).unwrap();
    let path = fixture.path("2026-11-22.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [whole.as_slice(), b"{\"at\":\"20"].concat()).unwrap();
    fixture.records.open(tonight).unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[test]
fn a_record_with_invalid_bytes_is_still_read() {
    let fixture = fixture();
    let tonight = night("2026-11-22");
    fixture.records.open(tonight).unwrap().note(opened(tonight)).unwrap();
    let path = fixture.path("2026-11-22.jsonl");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend([0, 0xff, 0xfe, b'\n', 0]);
    fs::write(&path, bytes).unwrap();
    assert!(fixture.newest().is_some());
    assert!(fixture.records.open(tonight).unwrap().record().is_some());
}

#[test]
fn a_closed_record_is_one_file_and_can_be_read() {
    let fixture = fixture();
    fixture.close(night("2026-11-22"));
    assert!(!fixture.path("2026-11-22.jsonl").exists());
    let record = fixture.records.read(night("2026-11-22")).unwrap().unwrap();
    assert_eq!(record.closed.unwrap().verdict, Verdict::Complete);
    assert_eq!(fixture.records.nights().unwrap(), [night("2026-11-22")]);
}

#[test]
fn the_newest_record_is_the_open_one_even_after_an_extra_night_of_its_date_has_closed() {
    let fixture = fixture();
    fixture.close(night("2026-11-22.1"));
    let tonight = night("2026-11-22");
    fixture.records.open(tonight).unwrap().note(opened(tonight)).unwrap();
    assert_eq!(fixture.newest().unwrap().night, tonight);
}

#[test]
fn a_record_without_a_line_does_not_hide_an_earlier_one() {
    let fixture = fixture();
    fixture.close(night("2026-11-21"));
    fixture.records.open(night("2026-11-22")).unwrap();
    assert_eq!(fixture.newest().unwrap().night, night("2026-11-21"));
}

#[test]
fn records_older_than_four_hundred_nights_are_removed_closed_or_not() {
    let fixture = fixture();
    fixture.close(night("2025-01-01"));
    fixture.records.open(night("2025-01-02")).unwrap().note(opened(night("2025-01-02"))).unwrap();
    fixture.close(night("2026-11-22"));
    fixture.close(night("2025-01-03"));
    let mut kept = KeptNights::default();
    let by_alice = KeptNight { until: None, by: "alice".into(), at: Timestamp::UNIX_EPOCH };
    let today = "2026-11-22".parse().unwrap();
    assert!(kept.keep(night("2025-01-03"), by_alice, today));
    fixture.records.remove_older(today, &kept).unwrap();
    let left = [night("2025-01-03"), night("2026-11-22")];
    assert_eq!(fixture.records.nights().unwrap(), left, "one is kept by an operator");
}

#[test]
fn closing_a_night_of_a_wrong_year_removes_no_record() {
    let fixture = fixture();
    fixture.close(night("2026-11-22"));
    fixture.close(night("2099-01-01.1"));
    assert_eq!(fixture.records.nights().unwrap(), [night("2026-11-22"), night("2099-01-01.1")]);
}

#[test]
fn the_record_of_a_closed_night_is_neither_opened_nor_replaced() {
    let fixture = fixture();
    let of = night("2026-11-22");
    fixture.close(of);
    let before = fs::read(fixture.path("2026-11-22.json")).unwrap();
    assert!(matches!(fixture.records.open(of), Err(StoreError::Closed(night)) if night == of));
    let record = fixture.records.read(of).unwrap().unwrap();
    let other = Record { planned: Vec::new(), ..record };
    assert!(matches!(fixture.records.close(&other), Err(StoreError::Closed(night)) if night == of));
    assert_eq!(fs::read(fixture.path("2026-11-22.json")).unwrap(), before);
    assert!(!fixture.path("2026-11-22.jsonl").exists());
}

#[test]
fn a_record_that_cannot_be_read_does_not_hide_the_others() {
    let fixture = fixture();
    fixture.close(night("2026-11-21"));
    fixture.close(night("2026-11-22"));
    let now = Timestamp::now();
    let unparsable = |path: PathBuf| fs::write(path, b"{\"format\": 1, \"night\"").unwrap();
    let replaced = |path: PathBuf| {
        fs::remove_file(&path).unwrap();
        fs::create_dir(path).unwrap();
    };
    let directory = |path: PathBuf| fs::create_dir(path).unwrap();
    // A sparse file that is larger than any record.
    let too_large = |path: PathBuf| fs::File::create(path).unwrap().set_len(MAX_LEN + 1).unwrap();
    type Damage = fn(PathBuf);
    let damage: [(&str, Damage); 4] = [
        ("2026-11-22.json", unparsable),
        ("2026-11-22.json", replaced),
        ("2026-11-23.jsonl", directory),
        ("2026-11-23.1.jsonl", too_large),
    ];
    for (name, damage) in damage {
        damage(fixture.path(name));
        let past = fixture.records.past(now).unwrap();
        assert_eq!(past.newest(now).unwrap().night, night("2026-11-21"), "{name}");
        assert!(past.unreadable.iter().any(|error| error.to_string().contains(name)), "{name}: {past:?}");
    }
}

#[test]
fn tonights_record_that_cannot_be_read_is_moved_aside_and_begun_again() {
    let fixture = fixture();
    let tonight = night("2026-11-22");
    fs::create_dir_all(fixture.dir.path().join("records")).unwrap();
    fs::File::create(fixture.path("2026-11-22.jsonl")).unwrap().set_len(MAX_LEN + 1).unwrap();
    fixture.records.open(tonight).unwrap().note(opened(tonight)).unwrap();
    assert_eq!(fixture.newest().unwrap().night, tonight);
    assert!(fixture.path("2026-11-22.jsonl.unreadable").exists());
}

#[test]
fn a_good_record_stays_where_it_is_when_something_else_keeps_it_from_being_opened() {
    for (kind, is_moved) in [(io::ErrorKind::StorageFull, false), (io::ErrorKind::FileTooLarge, true)] {
        let error = StoreError::Io { action: "open", path: "/r".into(), source: kind.into() };
        assert_eq!(is_of_the_file(&error), is_moved, "{kind}");
    }
    let descriptors = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
    assert!(!is_of_the_file(&StoreError::Io { action: "open", path: "/r".into(), source: descriptors }));
}

#[test]
fn a_record_whose_first_line_was_damaged_is_continued_from_the_line_that_replaced_it() {
    let fixture = fixture();
    let tonight = night("2026-11-22");
    let log = fixture.records.open(tonight).unwrap();
    log.note(opened(tonight)).unwrap();
    log.note(started()).unwrap();
    let path = fixture.path("2026-11-22.jsonl");
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] = 0;
    fs::write(&path, bytes).unwrap();
    let log = fixture.records.open(tonight).unwrap();
    assert!(log.record().is_none());
    log.note(opened(tonight)).unwrap();
    log.note(started()).unwrap();
    let record = fixture.records.read(tonight).unwrap().unwrap();
    assert!(record.stages.contains_key(&Stage::CollectNode));
}

#[test]
fn records_from_the_future_are_known_and_the_newest_of_the_others_counts() {
    let fixture = fixture();
    fixture.close(night("2026-11-22"));
    let future = night("2036-12-27");
    let line = r#"{"at":"2036-12-27T21:00:00Z","step":"opened","format":1,"night":"2036-12-27","host":"m1","version":"0","closes":"2036-12-28T03:00:00Z","expected":[],"stages":[],"remotes":[]}"#;
    fs::write(fixture.path("2036-12-27.jsonl"), format!("{line}\n")).unwrap();
    let now = Timestamp::now();
    let past = fixture.records.past(now).unwrap();
    assert_eq!(past.newest(now).unwrap().night, night("2026-11-22"));
    assert!(past.nights.contains(&future) && past.read.iter().any(|record| record.night == future));
    assert_eq!(past.future, [future]);
}

#[test]
fn steps_that_are_noted_at_the_same_time_are_whole_lines() {
    let fixture = fixture();
    let tonight = night("2026-11-22");
    let log = fixture.records.open(tonight).unwrap();
    log.note(opened(tonight)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let log = log.clone();
            scope.spawn(move || {
                for n in 0..10 {
                    let step = Step::Pruned { what: n.to_string(), reason: "x".repeat(500) };
                    log.note(step).unwrap();
                }
            });
        }
    });
    assert_eq!(fixture.records.read(tonight).unwrap().unwrap().pruned.len(), 80);
}

#[test]
fn a_reason_in_a_record_is_one_harmless_line_of_bounded_length() {
    let fixture = fixture();
    let tonight = night("2026-11-22");
    let log = fixture.records.open(tonight).unwrap();
    log.note(opened(tonight)).unwrap();
    log.note(started()).unwrap();
    let hostile = format!("refused: \u{1b}[2J\ncollect-node done {}", "x".repeat(1 << 20));
    log.note(ended(&hostile)).unwrap();
    log.note(Step::Closed { verdict: Verdict::Failed, reasons: vec![hostile] }).unwrap();
    for record in [log.record().unwrap(), fixture.records.read(tonight).unwrap().unwrap()] {
        let stage = record.stages[&Stage::CollectNode].reason.clone().unwrap();
        for reason in [&stage, &record.closed.as_ref().unwrap().reasons[0]] {
            assert!(reason.chars().count() <= 2_001 && reason.starts_with("refused: "), "{}", reason.len());
            assert!(reason.chars().all(nightshift_core::text::is_harmless));
        }
    }
}

#[test]
fn what_happens_after_a_night_is_added_to_its_closed_record_and_an_open_one_is_not_closed_by_it() {
    let fixture = fixture();
    let of = night("2026-11-22");
    let report = |outcome| {
        Step::Hook(HookReport {
            name: "report".parse().unwrap(),
            at: Occasion::AFTER_NIGHT,
            ended: None,
            outcome,
            reason: None,
            duration_ms: 1,
        })
    };
    assert!(fixture.records.amend(of, report(None)).is_err());
    let log = fixture.records.open(of).unwrap();
    log.note(opened(of)).unwrap();
    log.note(report(None)).unwrap();
    assert!(fixture.records.amend(of, report(None)).is_err(), "it is open");
    log.note(Step::Closed { verdict: Verdict::Complete, reasons: vec![] }).unwrap();
    fixture.records.close(&log.record().unwrap()).unwrap();
    let before = fixture.records.read(of).unwrap().unwrap();
    fixture.records.amend(of, report(Some(Outcome::Done))).unwrap();
    let after = fixture.records.read(of).unwrap().unwrap();
    assert_eq!(after.hooks.iter().map(|report| report.outcome).collect::<Vec<_>>(), [Some(Outcome::Done)]);
    assert_eq!(Record { hooks: before.hooks.clone(), ..after }, before, "the rest stays");
}

#[test]
fn a_record_under_the_name_of_another_night_is_unreadable() {
    let fixture = fixture();
    let (tonight, other) = (night("2026-11-22"), night("2026-11-21"));
    fixture.close(tonight);
    fs::copy(fixture.path("2026-11-22.json"), fixture.path("2026-11-21.json")).unwrap();
    let error = chain(&fixture.records.read(other).unwrap_err());
    assert!(error.contains("2026-11-21.json") && error.contains("record of night 2026-11-22"), "{error}");
    assert!(fixture.records.read(tonight).unwrap().is_some());
}
