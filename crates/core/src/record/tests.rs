#![allow(clippy::unwrap_used)]
use super::*;

fn night(expected: &[&str]) -> Record {
    let expected = expected
        .iter()
        .map(|host| Expected { host: host.parse().unwrap(), role: Role::Node, new: false, any: false })
        .collect();
    let step = Step::Opened {
        format: FORMAT,
        night: "2026-11-22".parse().unwrap(),
        host: "m1".parse().unwrap(),
        version: "0".into(),
        closes: Timestamp::UNIX_EPOCH,
        expected,
        stages: vec![],
        remotes: vec![],
    };
    Record::from_lines([Line { at: Timestamp::UNIX_EPOCH, step }]).unwrap()
}

#[test]
fn a_host_is_new_for_two_nights_after_it_was_added() {
    let (without, with) = (night(&["n1"]), night(&["n1", "n2"]));
    let is_new = |earlier: &[&Record]| {
        let earlier: Vec<Record> = earlier.iter().map(|record| (*record).clone()).collect();
        came_lately(&"n2".parse().unwrap(), Role::Node, &earlier)
    };
    assert!(is_new(&[&without]));
    assert!(is_new(&[&with, &without]));
    assert!(!is_new(&[&with, &with, &without]));
}

#[test]
fn on_the_first_night_of_all_nobody_is_new() {
    assert!(!came_lately(&"n2".parse().unwrap(), Role::Node, &[]));
}

fn report(fate: Fate) -> SetReport {
    SetReport {
        set: SetId::first("n1".parse().unwrap(), "2026-11-22".parse().unwrap(), Role::Node),
        fate,
        grade: None,
        from: None,
        bytes: 0,
        sha256: None,
        reason: None,
    }
}

#[test]
fn what_is_held_stays_held_when_a_later_look_misses_it() {
    let mut record = night(&["n1"]);
    for fate in [Fate::Missing, Fate::Pulled, Fate::Missing] {
        record.apply(Line { at: Timestamp::UNIX_EPOCH, step: Step::Set(report(fate)) });
    }
    assert_eq!(record.sets.len(), 1);
    assert_eq!(record.sets[0].fate, Fate::Pulled);
}

#[test]
fn what_was_refused_is_not_just_missing() {
    let mut record = night(&["n1"]);
    for (fate, stands) in
        [(Fate::Refused, Fate::Refused), (Fate::Missing, Fate::Refused), (Fate::Pulled, Fate::Pulled)]
    {
        record.apply(Line { at: Timestamp::UNIX_EPOCH, step: Step::Set(report(fate)) });
        assert_eq!(record.sets[0].fate, stands);
    }
}
