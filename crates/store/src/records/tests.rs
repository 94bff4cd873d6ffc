#![allow(clippy::unwrap_used)]
use nightshift_core::outcome::{Outcome, Verdict};
use nightshift_core::record::StartReason;
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

struct Room {
    dir: tempfile::TempDir,
    records: Records,
}

fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::new(dir.path().join("records"));
    Room { dir, records }
}

impl Room {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("records").join(name)
    }

    fn close(&self, of: Night) {
        let journal = self.records.open(of).unwrap();
        journal.note(opened(of)).unwrap();
        journal.note(Step::Closed { verdict: Verdict::Complete, reasons: vec![] }).unwrap();
        self.records.close(&journal.record().unwrap()).unwrap();
    }
}

#[test]
fn what_is_noted_is_there_for_the_next_life_of_the_daemon() {
    let room = room();
    let tonight = night("2026-11-22");
    let journal = room.records.open(tonight).unwrap();
    journal.note(opened(tonight)).unwrap();
    journal.note(started()).unwrap();
    drop(journal);
    let record = room.records.open(tonight).unwrap().record().unwrap();
    assert_eq!(record.stages[&Stage::CollectNode].outcome, None);
    assert_eq!(room.records.newest().unwrap().unwrap(), record);
}

#[test]
fn a_line_that_a_crash_cut_short_costs_no_other() {
    let room = room();
    let tonight = night("2026-11-22");
    let journal = room.records.open(tonight).unwrap();
    journal.note(opened(tonight)).unwrap();
    journal.note(started()).unwrap();
    journal.note(ended("größer als erwartet")).unwrap();
    let path = room.path("2026-11-22.jsonl");
    let whole = fs::read(&path).unwrap();
    // Cut anywhere, in the middle of a character too.
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for cut in last..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let record = room.records.newest().unwrap().unwrap();
        assert!(record.stages[&Stage::CollectNode].attempts == 1, "cut at {cut}");
        let journal = room.records.open(tonight).unwrap();
        journal.note(ended("again")).unwrap();
        let record = room.records.read(tonight).unwrap().unwrap();
        assert_eq!(record.stages[&Stage::CollectNode].reason.as_deref(), Some("again"), "cut at {cut}");
    }
}

#[test]
fn a_torn_end_is_cut_off_and_needs_no_room() {
    let room = room();
    let tonight = night("2026-11-22");
    room.records.open(tonight).unwrap().note(opened(tonight)).unwrap();
    let path = room.path("2026-11-22.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [whole.as_slice(), b"{\"at\":\"20"].concat()).unwrap();
    room.records.open(tonight).unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[test]
fn what_a_power_cut_left_of_a_record_does_not_keep_the_daemon_down() {
    let room = room();
    let tonight = night("2026-11-22");
    room.records.open(tonight).unwrap().note(opened(tonight)).unwrap();
    let path = room.path("2026-11-22.jsonl");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend([0, 0xff, 0xfe, b'\n', 0]);
    fs::write(&path, bytes).unwrap();
    assert!(room.records.newest().unwrap().is_some());
    assert!(room.records.open(tonight).unwrap().record().is_some());
}

#[test]
fn a_closed_record_is_one_file_and_is_found_again() {
    let room = room();
    room.close(night("2026-11-22"));
    assert!(!room.path("2026-11-22.jsonl").exists());
    let record = room.records.read(night("2026-11-22")).unwrap().unwrap();
    assert_eq!(record.closed.unwrap().verdict, Verdict::Complete);
    assert_eq!(room.records.nights().unwrap(), [night("2026-11-22")]);
}

#[test]
fn an_open_night_is_taken_up_although_an_extra_one_of_its_date_has_closed() {
    let room = room();
    room.close(night("2026-11-22.1"));
    let tonight = night("2026-11-22");
    room.records.open(tonight).unwrap().note(opened(tonight)).unwrap();
    assert_eq!(room.records.newest().unwrap().unwrap().night, tonight);
}

#[test]
fn a_record_that_never_got_its_first_line_hides_no_earlier_one() {
    let room = room();
    room.close(night("2026-11-21"));
    room.records.open(night("2026-11-22")).unwrap();
    assert_eq!(room.records.newest().unwrap().unwrap().night, night("2026-11-21"));
}

#[test]
fn records_older_than_four_hundred_nights_go_closed_or_not() {
    let room = room();
    room.close(night("2025-01-01"));
    room.records.open(night("2025-01-02")).unwrap().note(opened(night("2025-01-02"))).unwrap();
    room.close(night("2026-11-22"));
    assert_eq!(room.records.nights().unwrap(), [night("2026-11-22")]);
}

#[test]
fn steps_noted_side_by_side_are_whole_lines() {
    let room = room();
    let tonight = night("2026-11-22");
    let journal = room.records.open(tonight).unwrap();
    journal.note(opened(tonight)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let journal = journal.clone();
            scope.spawn(move || {
                for n in 0..10 {
                    let step = Step::Pruned { what: n.to_string(), reason: "x".repeat(500) };
                    journal.note(step).unwrap();
                }
            });
        }
    });
    assert_eq!(room.records.read(tonight).unwrap().unwrap().pruned.len(), 80);
}
