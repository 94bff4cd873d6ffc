//! The status of a host: its current or last night, and whether its backups are stale. It is determined from files alone, so it
//! is available without the daemon.

mod etcd_state;
mod facts;
mod full;
mod gone;
mod last_nights;
mod lost_copies;
mod restorable_night;
mod stored;
mod warnings;

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nightshift_core::agenda::Held;
use nightshift_core::next_night::{MAX_DAYS, next_opening};
use nightshift_core::night::Night;
use nightshift_core::outcome::Verdict;
use nightshift_core::plan::NightPlan;
use nightshift_core::reason::{Reason, ReasonCode};
use nightshift_core::record::Record;
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use nightshift_core::status::FORMAT;
pub use nightshift_core::status::{EtcdState, NightReport, Report};
use nightshift_core::summary::{self, Judgement};
use nightshift_core::units::local_time;
use nightshift_etcd::restorer;
use nightshift_store::records::{Past, Records};
use nightshift_store::{StoreError, Vault};

use crate::retention;
use crate::state_lock::first_started;
pub use facts::with_facts;
pub use full::full;
use gone::Gone;
use last_nights::LastNights;
pub use warnings::skipped;

pub fn report(settings: &Settings, now: Timestamp) -> Result<Report, StoreError> {
    let records = Records::new(settings.paths.records());
    let past = records.past(now)?;
    let newest = newest(&records, &past, now);
    let newest = newest.as_ref();
    let mut warnings = warnings::of_host(settings, &records, &past, newest, now);
    let is_recorded = |night| past.nights.contains(&night);
    let known = past.nights.iter().filter(|night| !past.future.contains(night));
    let nights = known.clone().rev().filter(|night| !night.is_extra());
    let last = LastNights::read(&records, nights, newest, &mut warnings);
    let LastNights { before, complete, restorable, hooks } = last;
    warnings.extend(hooks.into_iter().flatten());
    let mut gone = Gone::default();
    if let Some(record) = newest {
        gone.add(settings, record, true, now);
    }
    if let Some(record) = restorable.as_ref().filter(|it| newest.is_none_or(|new| new.night != it.night)) {
        gone.add(settings, record, false, now);
    }
    gone.add_future(settings, now);
    let is_vault_lost = warnings.iter().any(|warning| warning.code == ReasonCode::VaultLost);
    warnings.extend(gone.reasons(settings, is_vault_lost));
    let night =
        newest.map(|record| NightReport { gone: gone.sets(), ..night_report(settings, record.clone()) });
    let mut unreadable: Vec<String> = night.iter().flat_map(|night| night.unreadable.clone()).collect();
    let known_of = restorable.as_ref().map(|record| restorable_night::of(settings, record, &mut unreadable));
    let restorable = restorable.map(|record| record.night);
    warnings.extend(unreadable.into_iter().map(|text| Reason::new(ReasonCode::SetUnreadable, text)));
    Ok(Report {
        format: FORMAT,
        cluster: settings.cluster.clone(),
        host: settings.this.clone(),
        roles: settings.roles().to_string(),
        daemon: None,
        at: now,
        stale: stale(settings, now, restorable, known.clone().next().copied()),
        held: None,
        warnings: warnings.into_iter().collect(),
        // While the vault cannot be listed, its other warnings say so.
        awaiting: retention::awaiting(settings, &Vault::of(settings)).unwrap_or_default(),
        notes: notes(settings, past.newest(now)),
        night,
        before: before.map(|(_, verdict)| verdict),
        before_night: before.map(|(night, _)| night),
        last_complete: complete,
        last_restorable: restorable,
        restorable: known_of,
        vault: stored::space(settings),
        remotes: stored::remotes(settings),
        opens: next_opening(settings, now, is_recorded),
        facts: None,
    })
}

/// The night that is shown. One that has only shipped the outbox must not hide what the night before it lacks.
fn newest(records: &Records, past: &Past, now: Timestamp) -> Option<Record> {
    let is_shown = |record: &Record| {
        !record.only_ships() || record.closed.as_ref().is_none_or(|it| it.verdict != Verdict::Complete)
    };
    if past.newest(now).is_none_or(is_shown) {
        return past.newest(now).cloned();
    }
    // Only those of the newest date were read.
    let older = || {
        let nights = past.nights.iter().rev().filter(|night| !past.future.contains(night));
        // One that cannot be read has its own warning.
        nights.filter_map(|night| records.read(*night).ok().flatten()).find(is_shown)
    };
    past.newest_of(now, is_shown).cloned().or_else(older)
}

/// Only masters ship a kit.
fn notes(settings: &Settings, newest: Option<&Record>) -> Vec<String> {
    let has_etcd = settings.inventory.with_role(Role::Etcd).next().is_some();
    if settings.remotes.is_empty() || !settings.roles().has(Role::Master) {
        return Vec::new();
    }
    let kits = newest.iter().flat_map(|record| &record.kits);
    let lacking =
        kits.filter_map(|kit| Some(format!("{} for {}: {}", kit.archive, kit.remote, kit.reason.as_ref()?)));
    restorer::absent(settings).filter(|_| has_etcd).into_iter().chain(lacking).collect()
}

pub fn night_report(settings: &Settings, record: Record) -> NightReport {
    let open = record.closed.is_none();
    let settled = record.is_settled();
    let Judgement { verdict, reasons, tolerated } = judgement(&record);
    let mut unreadable = Vec::new();
    let etcd = etcd_state::of_night(settings, &record, &mut unreadable);
    let (progress, waits) = (Vec::new(), Vec::new());
    NightReport {
        open,
        stopped: false,
        settled,
        verdict,
        reasons,
        tolerated,
        record,
        progress,
        waits,
        etcd,
        unreadable,
        gone: BTreeSet::new(),
    }
}

/// Why a night does not open, and when it does.
pub fn held_reason(held: &Held, zone: &TimeZone) -> String {
    let opens = held.opens.map(|at| format!("; the night opens by itself at {}", local_time(at, zone)));
    format!("{}{}", held.reason, opens.unwrap_or_default())
}

/// The result of a closed night as it was recorded at its closing, or the result of an open night so far.
pub fn judgement(record: &Record) -> Judgement {
    match &record.closed {
        Some(closed) => summary::judge(record).closed(closed.verdict, &closed.reasons),
        None => summary::judge(record),
    }
}

/// Every scheduled night that has closed should be restorable, except those before this host's first record and before its
/// daemon first started.
fn stale(
    settings: &Settings,
    now: Timestamp,
    last_restorable: Option<Night>,
    oldest: Option<Night>,
) -> Option<String> {
    let window = &settings.window;
    let mut date = now.to_zoned(window.zone.clone()).date();
    for _ in 0..MAX_DAYS {
        if window.closing(date) <= now && !NightPlan::of(settings, date).stages.is_empty() {
            break;
        }
        date = date.yesterday().ok()?;
    }
    let recorded = oldest.is_some_and(|oldest| oldest.date <= date);
    let first = first_started(&settings.paths.state);
    if !recorded && first.is_none_or(|first| window.opening(date) < first) {
        return None;
    }
    match last_restorable {
        Some(night) if night.date >= date => None,
        Some(night) => {
            Some(format!("the last restorable night is {night}, but night {date} has closed since"))
        }
        None => Some(format!("no restorable night is recorded, but night {date} has closed")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::restorable::Restorable;
    use nightshift_core::stage::Stage;

    use super::*;
    use crate::testing;

    /// A host whose daemon first started four days ago, with the records of these nights.
    fn host(dir: &std::path::Path, nights: &[&str]) -> Settings {
        let mut settings = testing::settings(dir, vec![testing::host("m1", Role::Node)]);
        settings.window.opens = jiff::civil::time(22, 0, 0, 0);
        settings.window.closes = jiff::civil::time(4, 0, 0, 0);
        for stage in Stage::ALL {
            settings.stages.get_mut(stage).at = "30 22 * * *".parse().unwrap();
        }
        let lock = settings.paths.state.join("daemon.lock");
        std::fs::create_dir_all(settings.paths.records()).unwrap();
        let started = std::time::SystemTime::now() - std::time::Duration::from_secs(4 * 24 * 3600);
        std::fs::File::create(lock).unwrap().set_modified(started).unwrap();
        for night in nights {
            let record = include_str!("../../core/src/record/format_1.jsonl");
            let lines: Vec<nightshift_core::record::Line> =
                record.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let mut record = Record::from_lines(lines).unwrap();
            record.night = night.parse().unwrap();
            record.newest = settings.window.opening(record.night.date);
            record.closed = Some(nightshift_core::record::Closed {
                at: record.newest,
                verdict: Verdict::Complete,
                reasons: Vec::new(),
            });
            Records::new(settings.paths.records()).close(&record).unwrap();
        }
        settings
    }

    #[test]
    fn a_host_that_never_kept_a_night_since_its_daemon_started_is_stale() {
        let dir = tempfile::tempdir().unwrap();
        let report = report(&host(dir.path(), &[]), Timestamp::now()).unwrap();
        assert!(report.stale.is_some_and(|stale| stale.contains("no restorable night is recorded")));
    }

    #[test]
    fn a_record_from_the_future_is_a_warning_and_not_the_last_good_night() {
        let dir = tempfile::tempdir().unwrap();
        let report = report(&host(dir.path(), &["2036-12-27"]), Timestamp::now()).unwrap();
        assert_eq!((report.last_restorable, report.last_complete), (None, None));
        assert!(report.night.is_none() && report.stale.is_some());
        assert!(matches!(&report.warnings[..], [warning] if warning.text.contains("2036-12-27")));
    }

    #[test]
    fn a_night_whose_date_is_recorded_is_not_promised_again_and_the_status_has_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = host(dir.path(), &["2026-01-01"]);
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        let skipped = |settings: &Settings, now| {
            let report = report(settings, now).unwrap();
            let skipped = report.warnings.iter().any(|it| it.code == ReasonCode::NightSkipped);
            (report.opens.to_string(), skipped)
        };
        assert_eq!(skipped(&settings, now), ("2026-01-02T22:00:00Z".into(), false));
        // Night 2026-01-01 closed in its evening, and was then moved to its last hour.
        settings.window.opens = jiff::civil::time(23, 30, 0, 0);
        for stage in Stage::ALL {
            settings.stages.get_mut(stage).at = "45 23 * * *".parse().unwrap();
        }
        let next = "2026-01-02T23:30:00Z".to_owned();
        for now in ["2026-01-01T23:00:00Z", "2026-01-01T23:50:00Z"] {
            assert_eq!(skipped(&settings, now.parse().unwrap()), (next.clone(), true), "{now}");
        }
        assert_eq!(skipped(&settings, now), (next, false));
    }

    #[test]
    fn a_vault_with_less_free_than_min_free_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = host(dir.path(), &["2026-01-01"]);
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        assert_eq!(report(&settings, now).unwrap().warnings, []);
        settings.vault.min_free = u64::MAX - 1;
        let warnings = report(&settings, now).unwrap().warnings;
        let [Reason { code: ReasonCode::VaultFull, text }] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(text.contains("min-free") && text.contains("df -h"), "{text}");
    }

    #[test]
    fn a_night_whose_plan_is_refused_is_not_the_last_restorable_one() {
        let dir = tempfile::tempdir().unwrap();
        let settings = host(dir.path(), &["2026-01-01"]);
        let records = Records::new(settings.paths.records());
        let mut refused = records.read("2026-01-01".parse().unwrap()).unwrap().unwrap();
        refused.night = "2026-01-02".parse().unwrap();
        refused.restorable = Some(Restorable::unknown("m2: no master set of this night"));
        records.close(&refused).unwrap();
        let report = report(&settings, Timestamp::now()).unwrap();
        assert_eq!(report.last_restorable, Some("2026-01-01".parse().unwrap()));
        assert_eq!(report.last_complete, Some("2026-01-02".parse().unwrap()));
        let codes: Vec<ReasonCode> = report.warnings.iter().map(|warning| warning.code).collect();
        assert_eq!(codes, [ReasonCode::RestoreRefused]);
        assert!(report.warnings[0].text.ends_with("m2: no master set of this night"));
    }

    #[test]
    fn an_unreadable_record_is_a_warning_and_hides_no_other_night() {
        let dir = tempfile::tempdir().unwrap();
        let settings = host(dir.path(), &["2026-01-01"]);
        std::fs::write(settings.paths.records().join("2026-01-02.json"), b"{").unwrap();
        let report = report(&settings, Timestamp::now()).unwrap();
        assert_eq!(report.last_restorable, Some("2026-01-01".parse().unwrap()));
        assert!(matches!(&report.warnings[..], [warning] if warning.text.contains("2026-01-02.json")));
    }

    #[test]
    fn a_night_that_only_shipped_does_not_hide_what_the_night_before_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let settings = host(dir.path(), &["2026-01-01"]);
        let records = Records::new(settings.paths.records());
        let before: Night = "2026-01-01".parse().unwrap();
        let mut shipped = records.read(before).unwrap().unwrap();
        shipped.planned = vec![Stage::ShipArchive];
        shipped.sets.clear();
        // Of the same date, and of the next day.
        for night in ["2026-01-01.1", "2026-01-02.1"] {
            shipped.night = night.parse().unwrap();
            records.close(&shipped).unwrap();
            let report = report(&settings, Timestamp::now()).unwrap();
            assert_eq!(report.night.unwrap().record.night, before, "{night}");
        }
        let alone = host(&dir.path().join("alone"), &[]);
        Records::new(alone.paths.records()).close(&shipped).unwrap();
        assert!(report(&alone, Timestamp::now()).unwrap().night.is_none());
        // What it could not ship is shown.
        shipped.night = "2026-01-02.2".parse().unwrap();
        shipped.closed.as_mut().unwrap().verdict = Verdict::Degraded;
        records.close(&shipped).unwrap();
        let shown = report(&settings, Timestamp::now()).unwrap().night.unwrap();
        assert_eq!(shown.record.night, shipped.night);
    }

    #[test]
    fn a_complete_extra_night_does_not_hide_a_degraded_night_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let settings = host(dir.path(), &["2026-01-01.1"]);
        let mut report = report(&settings, Timestamp::now()).unwrap();
        report.daemon = Some("1".into());
        report.stale = None;
        assert!(!report.needs_attention());
        report.before = Some(Verdict::Degraded);
        assert!(report.needs_attention());
    }
}
