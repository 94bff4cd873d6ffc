//! The facts for metrics: how the last nights went, by the records, and what is stored.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use nightshift_core::etcd_facts::AgreementState;
use nightshift_core::name::{HostName, TargetName};
use nightshift_core::next_night::{MAX_DAYS, nights_from};
use nightshift_core::night::Night;
use nightshift_core::plan::NightPlan;
use nightshift_core::proof::DrillVerdict;
use nightshift_core::record::Record;
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use nightshift_core::stage::Stage;
use nightshift_core::status::{ClosedNight, Facts, LastRun};
use nightshift_core::summary::missing_sets;
use nightshift_store::records::Records;
use nightshift_store::{StoreError, Vault};

use super::gone::Gone;
use super::stored::Stored;
use super::{Report, etcd_state};
use crate::notify::queue::Queue;
use crate::state_lock::first_started;

/// How many nights are read for the last run of each stage: one that is scheduled once a week is found.
const MAX_NIGHTS: usize = 8;
/// The number of known openings: the answer stays true for two weeks without a daemon.
const OPENINGS: usize = 14;

/// The report with its facts. It reads the newest manifest of every host, which takes a second for thousands of hosts.
pub fn with_facts(settings: &Settings, report: Report, now: Timestamp) -> Result<Report, StoreError> {
    let records = Records::new(settings.paths.records());
    let past = records.past(now)?;
    let known: Vec<Night> =
        past.nights.iter().copied().filter(|night| !past.future.contains(night)).collect();
    let mut last = LastNights::default();
    for night in known.iter().rev().filter(|night| !night.is_extra()).take(MAX_NIGHTS) {
        // One that cannot be read is a warning of the report.
        let Ok(Some(record)) = records.read(*night) else { continue };
        last.add(record);
        if last.is_known(settings) {
            break;
        }
    }
    let restorable = report.last_restorable;
    let opened = restorable.and_then(|night| records.read(night).ok().flatten());
    let vault = Vault::of(settings);
    let mut stored = Stored::read(settings, &vault, &records, &report.awaiting, now);
    let unproved = last.settled.as_ref().map(unproved).unwrap_or_default();
    for drill in &mut stored.drills {
        if let Some(took_ms) = unproved.get(&drill.host) {
            (drill.verdict, drill.took_ms) = (DrillVerdict::NotProved, *took_ms);
        }
    }
    let facts = Facts {
        reload_refused: false,
        last_closed: last.closed,
        last_restorable: opened.map(|record| record.opened),
        stale_from: stale_from(settings, restorable, known.first().copied()),
        openings: openings(settings, now, |night| past.nights.contains(&night)),
        missing: last.settled.as_ref().map(|record| missing(settings, record, now)).unwrap_or_default(),
        agreement: last.settled.as_ref().and_then(|record| agreement(settings, record)),
        stages: last.stages,
        sets: stored.sets,
        awaiting: stored.awaiting,
        snapshots: stored.snapshots,
        drills: stored.drills,
        certificates: stored.certificates,
        notified: notified(settings),
    };
    Ok(Report { facts: Some(facts), ..report })
}

/// What the last nights of the schedule show, read with the newest first.
#[derive(Default)]
struct LastNights {
    closed: Option<ClosedNight>,
    /// The newest one whose stages have ended.
    settled: Option<Record>,
    stages: BTreeMap<Stage, LastRun>,
}

impl LastNights {
    fn add(&mut self, record: Record) {
        for (stage, state) in &record.stages {
            let Some(outcome) = state.outcome else { continue };
            let run = LastRun { outcome, started: state.started, duration_ms: state.duration_ms };
            self.stages.entry(*stage).or_insert(run);
        }
        if let Some(closed) = &record.closed {
            self.closed.get_or_insert(ClosedNight { at: closed.at, verdict: closed.verdict });
        }
        if self.settled.is_none() && record.is_settled() {
            self.settled = Some(record);
        }
    }

    fn is_known(&self, settings: &Settings) -> bool {
        let mut stages = Stage::ALL.into_iter().filter(|stage| stage.runs_on(settings.roles()));
        self.closed.is_some()
            && self.settled.is_some()
            && stages.all(|stage| self.stages.contains_key(&stage))
    }
}

/// By the vault as it is now. A newer night may have replaced the sets of the last settled one.
fn missing(settings: &Settings, record: &Record, now: Timestamp) -> BTreeMap<Role, u32> {
    let mut gone = Gone::default();
    gone.add(settings, record, true, now);
    missing_sets(record, &gone.sets())
}

/// The worst definite result of the members' comparison in a night; `None` if the cluster has a single member, or no set.
fn agreement(settings: &Settings, record: &Record) -> Option<AgreementState> {
    let states = etcd_state::of_night(settings, record, &mut Vec::new());
    let words: Vec<&str> =
        states.iter().map(|state| state.agreement.as_deref().unwrap_or("unknown")).collect();
    let is = |state: AgreementState| words.contains(&state.as_str());
    let ordered = [AgreementState::Diverged, AgreementState::Agreed, AgreementState::Unknown];
    ordered.into_iter().find(|state| is(*state))
}

/// The hosts whose set was drilled last without a result, and how long that took. Such a drill leaves no proof, only a line in the
/// record of its night.
fn unproved(record: &Record) -> BTreeMap<HostName, u64> {
    let mut last = BTreeMap::new();
    for report in &record.proofs {
        last.insert(report.set.host.clone(), report);
    }
    let unproved = last.into_iter().filter(|(_, report)| report.verdict == DrillVerdict::NotProved);
    unproved.map(|(host, report)| (host, report.took_ms)).collect()
}

/// A target's state that cannot be read has no value.
fn notified(settings: &Settings) -> BTreeMap<TargetName, Timestamp> {
    let last = |name: &TargetName| Queue::of(settings, name).state().ok()?.last_success;
    settings.notify.iter().filter_map(|target| Some((target.name.clone(), last(&target.name)?))).collect()
}

/// When the first night closes that should be restorable after the last one that is; the counterpart of `stale`.
fn stale_from(settings: &Settings, restorable: Option<Night>, oldest: Option<Night>) -> Option<Timestamp> {
    let window = &settings.window;
    let since_start = first_started(&settings.paths.state).map(|first| window.next_after(first));
    let first = match restorable {
        Some(night) => night.date.tomorrow().ok()?,
        None => oldest.map(|oldest| oldest.date).into_iter().chain(since_start).min()?,
    };
    dates(settings, first).next().map(|date| window.closing(date))
}

fn openings(settings: &Settings, now: Timestamp, is_recorded: impl Fn(Night) -> bool) -> Vec<Timestamp> {
    let next = settings.window.next_after(now);
    nights_from(settings, next, is_recorded).take(OPENINGS).map(|plan| plan.opens).collect()
}

/// The dates from `first` on whose night has a stage.
fn dates(settings: &Settings, first: Date) -> impl Iterator<Item = Date> {
    let days = std::iter::successors(Some(first), |date| date.tomorrow().ok()).take(MAX_DAYS);
    days.filter(|date| !NightPlan::of(settings, *date).stages.is_empty())
}

#[cfg(test)]
mod tests;
