#![allow(clippy::unwrap_used)]
use super::*;
use crate::digest::Digest;
use crate::fixtures;
use crate::proof::DrillVerdict;

fn night(expected: &[&str]) -> Record {
    let expected = expected
        .iter()
        .map(|host| Expected {
            host: host.parse().unwrap(),
            role: Role::Node,
            new: false,
            any: false,
            last_good: None,
        })
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
        restored: None,
        backup: None,
        tolerate: None,
    };
    Record::from_lines([Line { at: Timestamp::UNIX_EPOCH, step }]).unwrap()
}

/// The sample has a line of every kind.
#[test]
fn a_record_of_format_1_has_the_bytes_it_always_had() {
    let stored = include_str!("format_1.jsonl");
    for line in stored.lines() {
        let read: Line = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
    }
}

#[test]
fn what_is_known_of_a_sets_secrets_is_this_hosts_own_check_or_that_of_a_drill() {
    let mut record = night(&[]);
    let set = || "e1/2026-11-22/etcd".parse::<SetId>().unwrap();
    let report = |decrypted, unchecked: Option<&str>| SecretsReport {
        values: 3,
        decrypted,
        unchecked: unchecked.map(Into::into),
        ..SecretsReport::default()
    };
    let drill = |by: &str, report: &SecretsReport| {
        Step::Proved(ProofReport {
            set: set(),
            by: by.parse().unwrap(),
            verdict: DrillVerdict::Proved,
            copy: "a copy".into(),
            reason: None,
            took_ms: 1,
            secrets: Some(report.clone()),
        })
    };
    let mut apply = |step| {
        record.apply(Line { at: Timestamp::UNIX_EPOCH, step });
        record.secrets_of(&set(), |host| host.as_str() == "m2").cloned()
    };
    let (unchecked, drilled) = (report(0, Some("no master set")), report(2, None));
    assert_eq!(apply(drill("e1", &unchecked)), Some(unchecked.clone()));
    assert_eq!(apply(drill("e1", &drilled)), Some(unchecked.clone()), "that host has no master's keys");
    assert_eq!(apply(drill("m2", &drilled)), Some(drilled.clone()));
    assert_eq!(apply(drill("e1", &unchecked)), Some(drilled), "a later drill elsewhere did not check");
    for decrypted in [3, 1] {
        let own = report(decrypted, None);
        assert_eq!(apply(Step::Secrets { set: set(), report: own.clone() }), Some(own));
    }
    assert_eq!(record.secrets.len(), 1);
    assert_eq!(record.secrets_of(&"e2/2026-11-22/etcd".parse().unwrap(), |_| true), None);
}

#[test]
fn a_host_is_new_for_two_nights_after_it_was_added() {
    let (without, with) = (night(&["n1"]), night(&["n1", "n2"]));
    let is_new = |earlier: &[&Record]| {
        let earlier: Vec<Record> = earlier.iter().map(|record| (*record).clone()).collect();
        is_new(&"n2".parse().unwrap(), Role::Node, &earlier)
    };
    assert!(is_new(&[&without]));
    assert!(is_new(&[&with, &without]));
    assert!(!is_new(&[&with, &with, &without]));
}

#[test]
fn on_the_first_night_no_host_counts_as_new() {
    assert!(!is_new(&"n2".parse().unwrap(), Role::Node, &[]));
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
        verified: None,
    }
}

#[test]
fn a_stored_set_stays_stored_when_a_later_pull_misses_it() {
    let mut record = night(&["n1"]);
    for fate in [Fate::Missing, Fate::Pulled, Fate::Missing] {
        record.apply(Line { at: Timestamp::UNIX_EPOCH, step: Step::Set(report(fate)) });
    }
    assert_eq!(record.sets.len(), 1);
    assert_eq!(record.sets[0].fate, Fate::Pulled);
}

#[test]
fn a_refused_set_is_not_reported_as_missing() {
    let mut record = night(&["n1"]);
    for (fate, recorded) in
        [(Fate::Refused, Fate::Refused), (Fate::Missing, Fate::Refused), (Fate::Pulled, Fate::Pulled)]
    {
        record.apply(Line { at: Timestamp::UNIX_EPOCH, step: Step::Set(report(fate)) });
        assert_eq!(record.sets[0].fate, recorded);
    }
}

#[test]
fn the_copies_of_a_set_are_those_seen_on_masters_and_in_shipped_archives() {
    let mut record = night(&["n1"]);
    let set: SetId = "e1/2026-11-22/etcd".parse().unwrap();
    let other: SetId = "e2/2026-11-22/etcd".parse().unwrap();
    let packed = |archive: &str, etcd: &[&SetId]| {
        Step::Packed(Packed {
            archive: archive.into(),
            bytes: 1,
            sha256: Digest::of(b""),
            sets: 1,
            etcd: etcd.iter().map(|set| (*set).clone()).collect(),
            missing: vec![],
            encrypted: false,
        })
    };
    let shipped = |archive: &str, remote: &str| Step::Shipped {
        archive: archive.into(),
        remote: remote.parse().unwrap(),
        bytes: 1,
        sha256: Digest::of(b""),
        verified: "by reading back".into(),
        stored_as: None,
    };
    let seen = |master: &str, sets: &[&SetId]| Step::Seen {
        master: master.parse().unwrap(),
        sets: sets.iter().map(|set| (*set).clone()).collect(),
    };
    for step in [
        seen("m2", &[&other]),
        seen("m2", &[&set]),
        seen("m3", &[]),
        packed("first.tgz", &[&other]),
        packed("second.tgz", &[&set, &other]),
        shipped("first.tgz", "far"),
        shipped("second.tgz", "near"),
        Step::NotShipped {
            archive: "second.tgz".into(),
            remote: "down".parse().unwrap(),
            reason: "x".into(),
        },
    ] {
        record.apply(Line { at: Timestamp::UNIX_EPOCH, step });
    }
    let masters = |set| record.masters_with(set).map(ToString::to_string).collect::<Vec<_>>();
    let remotes = |set| {
        record
            .remotes_with(set, &LostCopies::default())
            .into_iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!((masters(&set), masters(&other)), (vec!["m2".to_owned()], vec!["m2".to_owned()]));
    assert_eq!(
        (remotes(&set), remotes(&other)),
        (vec!["near".to_owned()], vec!["far".to_owned(), "near".to_owned()])
    );
}

#[test]
fn an_archive_that_a_later_night_finds_gone_counts_again_once_it_is_found_intact_or_shipped_again() {
    let far: RemoteName = "far".parse().unwrap();
    let recheck = |result| Step::Rechecked(Recheck { archive: "a.tgz".into(), remote: far.clone(), result });
    let shipped = || Step::Shipped {
        archive: "b.tgz".into(),
        remote: far.clone(),
        bytes: 1,
        sha256: Digest::of(b""),
        verified: "by reading back".into(),
        stored_as: Some("a.tgz".into()),
    };
    let set: SetId = "e1/2026-11-22/etcd".parse().unwrap();
    let packed = fixtures::packed("b.tgz", vec![set.clone()]);
    let with = |steps: Vec<Step>| {
        let mut record = night(&[]);
        steps.into_iter().for_each(|step| record.apply(Line { at: Timestamp::UNIX_EPOCH, step }));
        record
    };
    let its_night = with(vec![Step::Packed(packed), shipped()]);
    let mut lost = LostCopies::default();
    let mut is_lost_after = |step: Step| {
        lost.add(&with(vec![step]));
        its_night.remotes_with(&set, &lost).is_empty()
    };
    assert!(!is_lost_after(shipped()));
    assert!(is_lost_after(recheck(Rechecked::Wrong("it is gone".into()))));
    assert!(is_lost_after(recheck(Rechecked::Unchecked("too slow".into()))), "nothing was found out");
    assert!(!is_lost_after(recheck(Rechecked::Verified("by sha256sum".into()))));
    assert!(is_lost_after(recheck(Rechecked::Wrong("it has other content".into()))));
    assert!(!is_lost_after(shipped()));
}
