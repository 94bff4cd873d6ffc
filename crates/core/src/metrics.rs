//! Metrics: made of the status report alone. A value that is unknown has no series, and none is made up as 0. Of a state, each
//! value has a series. Points in time are timestamps, never ages: an age would be wrong as soon as the text is read later.

pub mod alerts;
pub mod board;
mod table;
mod text;

use jiff::{SignedDuration, Timestamp};

pub use table::{Metric, TABLE};
pub use text::{CONTENT_TYPE, render};

use crate::etcd_facts::AgreementState;
use crate::outcome::{Outcome, Verdict};
use crate::proof::DrillVerdict;
use crate::status::{Facts, Report};
use table::*;

/// A running daemon writes its report every 10 minutes. After this a stored one is that of a daemon that ended without a trace, such
/// as by a power cut.
const MAX_REPORT_AGE: SignedDuration = SignedDuration::from_mins(30);

/// One metric with its series.
#[derive(Debug, PartialEq)]
pub struct Family {
    pub metric: &'static Metric,
    pub samples: Vec<Sample>,
}

#[derive(Debug, PartialEq)]
pub struct Sample {
    /// The values of the metric's labels, in their order.
    pub labels: Vec<String>,
    pub value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    Whole(i64),
    Fraction(f64),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Whole(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value.try_into().unwrap_or(i64::MAX))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Whole(value.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Self {
        Self::Whole(at.as_second())
    }
}

/// All metrics that have a value. `version` is that of the program that answers.
pub fn families(report: &Report, version: &str, now: Timestamp) -> Vec<Family> {
    let mut families = Families::default();
    let labels = [version.to_owned(), report.host.to_string(), report.roles.replace(", ", ",")];
    families.add(&BUILD_INFO, [(labels.into(), true)]);
    // A report from the future is as old as one from the past: the clock was set back since.
    let is_up = report.is_answered() && now.duration_since(report.at).abs() <= MAX_REPORT_AGE;
    families.value(&DAEMON_UP, Some(is_up));
    let facts = report.facts.as_ref();
    families.value(&CONFIG_RELOAD_OK, facts.map(|facts| !facts.reload_refused));
    let stale_from = facts.and_then(|facts| facts.stale_from);
    let stale = report.stale.is_some() || stale_from.is_some_and(|from| from <= now);
    families.value(&ATTENTION, Some(stale || !is_up || report.needs_attention()));
    families.value(&STALE, Some(stale));
    if let Some(facts) = facts {
        nights(&mut families, facts, now);
        stages(&mut families, facts);
        sets(&mut families, facts);
        etcd(&mut families, facts);
        drills(&mut families, facts);
        places(&mut families, report, facts);
    }
    families.0
}

fn nights(families: &mut Families, facts: &Facts, now: Timestamp) {
    families.value(&NIGHT_LAST_CLOSED, facts.last_closed.map(|closed| closed.at));
    families.value(&NIGHT_LAST_RESTORABLE, facts.last_restorable);
    families.value(&NIGHT_NEXT_OPEN, facts.openings.iter().copied().find(|opens| *opens > now));
    let verdict = facts.last_closed.iter().flat_map(|closed| {
        Verdict::ALL.map(|verdict| (vec![verdict.to_string()], verdict == closed.verdict))
    });
    families.add(&NIGHT_LAST_VERDICT, verdict);
}

fn stages(families: &mut Families, facts: &Facts) {
    let outcomes = facts.stages.iter().flat_map(|(stage, run)| {
        Outcome::ALL.map(|outcome| (vec![stage.to_string(), outcome.to_string()], outcome == run.outcome))
    });
    families.add(&STAGE_LAST_OUTCOME, outcomes);
    let runs = || facts.stages.iter().map(|(stage, run)| (vec![stage.to_string()], run));
    families.add(&STAGE_LAST_START, runs().map(|(stage, run)| (stage, run.started)));
    families.add(&STAGE_LAST_DURATION, runs().map(|(stage, run)| (stage, seconds(run.duration_ms))));
}

fn sets(families: &mut Families, facts: &Facts) {
    let labelled = || facts.sets.iter().map(|set| (vec![set.host.to_string(), set.role.to_string()], set));
    families.add(&SET_LAST_GOOD, labelled().map(|(labels, set)| (labels, set.made_at)));
    families.add(&SET_SIZE, labelled().map(|(labels, set)| (labels, set.bytes)));
    families.add(&SETS_MISSING, facts.missing.iter().map(|(role, sets)| (vec![role.to_string()], *sets)));
    families.add(&SETS_AWAITING, facts.awaiting.iter().map(|(role, sets)| (vec![role.to_string()], *sets)));
}

fn etcd(families: &mut Families, facts: &Facts) {
    let of_host = || facts.snapshots.iter().map(|snapshot| (vec![snapshot.host.to_string()], snapshot));
    families.add(&SNAPSHOT_TIME, of_host().map(|(host, snapshot)| (host, snapshot.made_at)));
    families.add(&SNAPSHOT_REVISION, of_host().map(|(host, snapshot)| (host, snapshot.revision)));
    families.add(&SNAPSHOT_KEYS, of_host().filter_map(|(host, snapshot)| Some((host, snapshot.keys?))));
    families.add(&SNAPSHOT_SIZE, of_host().map(|(host, snapshot)| (host, snapshot.bytes)));
    families.add(&ETCD_COPIES, of_host().filter_map(|(host, snapshot)| Some((host, snapshot.copies?))));
    let states = facts.agreement.iter().flat_map(|agreement| {
        AgreementState::ALL.map(|state| (vec![state.to_string()], state == *agreement))
    });
    families.add(&ETCD_AGREEMENT, states);
}

fn drills(families: &mut Families, facts: &Facts) {
    let of_host = || facts.drills.iter().map(|drill| (vec![drill.host.to_string()], drill));
    families.add(&DRILL_LAST_PROVED, of_host().filter_map(|(host, drill)| Some((host, drill.proved?))));
    families.add(&DRILL_LAST_DURATION, of_host().map(|(host, drill)| (host, seconds(drill.took_ms))));
    let verdicts = facts.drills.iter().flat_map(|drill| {
        DrillVerdict::ALL.map(|verdict| {
            let word = verdict.as_str().replace(' ', "-");
            (vec![drill.host.to_string(), word], verdict == drill.verdict)
        })
    });
    families.add(&DRILL_LAST_VERDICT, verdicts);
}

fn places(families: &mut Families, report: &Report, facts: &Facts) {
    let named = || report.remotes.iter().map(|remote| (vec![remote.name.to_string()], remote));
    families.add(&LAST_SHIPPED, named().filter_map(|(name, remote)| Some((name, remote.shipped?))));
    families.add(&LAST_SHIPPED_SIZE, named().filter_map(|(name, remote)| Some((name, remote.bytes?))));
    families.add(&ARCHIVES_WAITING, named().map(|(name, remote)| (name, remote.waiting)));
    families.value(&VAULT_SIZE, report.vault.map(|space| space.total));
    families.value(&VAULT_FREE, report.vault.map(|space| space.free));
    let certificates = facts.certificates.iter();
    let certificates = certificates.map(|it| (vec![it.host.to_string(), it.path.clone()], it.not_after));
    families.add(&CERTIFICATE_NOT_AFTER, certificates);
    let notified = facts.notified.iter().map(|(target, at)| (vec![target.to_string()], *at));
    families.add(&NOTIFY_LAST_SUCCESS, notified);
}

#[allow(clippy::cast_precision_loss)] // milliseconds of a stage
fn seconds(ms: u64) -> Value {
    Value::Fraction(ms as f64 / 1000.0)
}

#[derive(Default)]
struct Families(Vec<Family>);

impl Families {
    fn add<V: Into<Value>>(
        &mut self,
        metric: &'static Metric,
        samples: impl IntoIterator<Item = (Vec<String>, V)>,
    ) {
        let samples: Vec<Sample> =
            samples.into_iter().map(|(labels, value)| Sample { labels, value: value.into() }).collect();
        if !samples.is_empty() {
            self.0.push(Family { metric, samples });
        }
    }

    fn value(&mut self, metric: &'static Metric, value: Option<impl Into<Value>>) {
        self.add(metric, value.map(|value| (Vec::new(), value)));
    }
}

#[cfg(test)]
mod tests;
