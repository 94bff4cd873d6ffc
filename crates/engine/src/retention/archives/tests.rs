#![allow(clippy::unwrap_used)]
use jiff::civil::{Weekday, date};
use jiff::{Timestamp, ToSpan as _};
use nightshift_core::digest::Digest;
use nightshift_core::fixtures;
use nightshift_core::night::Night;
use nightshift_core::record::{Fate, Line, Recheck, Rechecked, SetReport, Step};
use nightshift_core::retention::Keep;
use nightshift_core::set_path::SetId;

use super::*;
use crate::testing;

fn remote() -> Remote {
    Remote {
        keep: Keep { nights: 3, weeks: 4, months: 6 },
        prune: true,
        ..fixtures::remote("far", "far", 22, "/in")
    }
}

pub(in crate::retention) fn name(date: Date) -> ArchiveName {
    format!("m1_{}.tgz", date.strftime("%Y.%m.%d")).parse().unwrap()
}

/// A closed night whose archive contains an etcd set of this grade, or none.
pub(in crate::retention) fn night(date: Date, etcd: Option<Grade>, verdict: Verdict) -> Record {
    let night = Night::of(date);
    let set: SetId = format!("e1/{night}/etcd").parse().unwrap();
    let archive = name(date).to_string();
    let mut steps = vec![
        Step::Opened {
            format: 1,
            night,
            host: "m1".parse().unwrap(),
            version: "0".into(),
            closes: Timestamp::UNIX_EPOCH,
            expected: vec![],
            stages: vec![],
            remotes: vec![],
            restored: None,
            backup: None,
            tolerate: None,
        },
        Step::Packed(fixtures::packed(&archive, etcd.iter().map(|_| set.clone()).collect())),
        Step::Shipped {
            archive,
            remote: "far".parse().unwrap(),
            bytes: 1,
            sha256: Digest::of(b"x"),
            verified: "by sha256sum".into(),
            stored_as: None,
        },
        Step::Closed { verdict, reasons: vec![] },
    ];
    steps.extend(etcd.map(|grade| {
        Step::Set(SetReport {
            set,
            fate: Fate::Pulled,
            grade: Some(grade),
            from: None,
            bytes: 1,
            sha256: None,
            reason: None,
            verified: None,
        })
    }));
    Record::from_lines(steps.into_iter().map(|step| Line { at: Timestamp::UNIX_EPOCH, step })).unwrap()
}

fn recorded(records: &[Record]) -> Recorded {
    let mut recorded = Recorded { expects_etcd: true, ..Recorded::default() };
    for record in records {
        recorded.add(record, &"far".parse().unwrap());
    }
    recorded
}

fn kept(records: &[Record], recorded: &Recorded, today: Date) -> Vec<(Date, Reason)> {
    let there = records.iter().map(|record| name(record.night.date)).collect();
    let decided = archives(&remote(), there, recorded, &KeptNights::default(), today);
    let kept = decided.into_iter().filter(|(_, decision)| decision.keep);
    kept.map(|(name, decision)| (name.date, decision.reason)).collect()
}

#[test]
fn archives_with_etcd_are_kept_for_their_weeks_and_months_before_those_of_failed_nights() {
    let today = date(2026, 11, 25);
    let records: Vec<Record> = (0..45)
        .rev()
        .map(|ago| {
            let date = today - ago.days();
            if ago < 3 || date.weekday() == Weekday::Sunday {
                night(date, None, Verdict::Failed)
            } else {
                night(date, Some(Grade::Good), Verdict::Complete)
            }
        })
        .collect();
    let kept: Vec<Date> =
        kept(&records, &recorded(&records), today).into_iter().map(|(date, _)| date).collect();
    let expected = [(10, 31), (11, 7), (11, 14), (11, 21), (11, 23), (11, 24), (11, 25)];
    assert_eq!(kept, expected.map(|(month, day)| date(2026, month, day)));
}

#[test]
fn the_newest_archive_with_an_etcd_set_that_is_a_copy_is_kept_at_any_age() {
    let today = date(2026, 11, 25);
    let old = [date(2025, 1, 1), date(2025, 1, 2), date(2025, 1, 3)];
    let mut records = vec![
        night(old[0], Some(Grade::Good), Verdict::Complete),
        night(old[1], Some(Grade::Degraded), Verdict::Degraded),
        night(old[2], Some(Grade::Bad), Verdict::Failed),
    ];
    records.extend((0..300).rev().map(|ago| night(today - ago.days(), None, Verdict::Failed)));
    let with_etcd: Vec<_> = kept(&records, &recorded(&records), today)
        .into_iter()
        .filter(|(date, _)| old.contains(date))
        .collect();
    assert_eq!(with_etcd, [(old[1], Reason::NewestWithEtcd)]);
    let without_etcd_hosts = Recorded { expects_etcd: false, ..recorded(&records) };
    assert!(kept(&records, &without_etcd_hosts, today).iter().all(|(date, _)| !old.contains(date)));
}

#[test]
fn an_archive_that_was_found_damaged_there_is_not_the_newest_one_with_etcd() {
    let today = date(2026, 11, 25);
    let old = [date(2025, 1, 1), date(2025, 1, 2)];
    let mut records = Vec::from(old.map(|date| night(date, Some(Grade::Good), Verdict::Complete)));
    records.extend((0..300).rev().map(|ago| night(today - ago.days(), None, Verdict::Failed)));
    records[2].rechecked.push(Recheck {
        archive: name(old[1]).to_string(),
        remote: "far".parse().unwrap(),
        result: Rechecked::Wrong("it has other content".into()),
    });
    let kept = kept(&records, &recorded(&records), today);
    assert!(kept.contains(&(old[0], Reason::NewestWithEtcd)), "{kept:?}");
}

#[test]
fn an_archive_under_another_name_there_that_a_later_night_shipped_is_known_by_what_its_night_packed() {
    let first = date(2026, 11, 1);
    let mut packed = night(first, Some(Grade::Good), Verdict::Degraded);
    packed.shipped.clear();
    let mut later = night(date(2026, 11, 2), None, Verdict::Failed);
    let shipment = &mut later.shipped[0];
    shipment.archive = name(first).to_string();
    shipment.stored_as = Some("m1_2026.11.01.2.tgz".into());
    let dir = tempfile::tempdir().unwrap();
    let hosts = vec![testing::host("m1", Role::Master), testing::host("e1", Role::Etcd)];
    let settings = testing::settings(dir.path(), hosts);
    let records = Records::new(settings.paths.records());
    std::fs::create_dir_all(settings.paths.records()).unwrap();
    records.close(&packed).unwrap();
    records.close(&later).unwrap();
    let far = "far".parse().unwrap();
    let recorded = Recorded::read(&settings, &far).unwrap();
    assert!(recorded.has_etcd(&far, &"m1_2026.11.01.2.tgz".parse().unwrap()));
    assert!(!recorded.has_etcd(&far, &"m1_2026.11.02.tgz".parse().unwrap()), "it is not shipped");
}
