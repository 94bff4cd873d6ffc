//! The status of a host: its current or last night, and whether its backups are stale. It is determined from files alone, so it
//! is available without the daemon.

mod etcd_state;

use jiff::Timestamp;
use nightshift_core::name::{ClusterName, HostName};
use nightshift_core::night::Night;
use nightshift_core::outcome::Verdict;
use nightshift_core::plan::NightPlan;
use nightshift_core::record::Record;
use nightshift_core::settings::Settings;
use nightshift_core::summary::{self, Judgement};
use serde::{Deserialize, Serialize};

pub use etcd_state::EtcdState;

use nightshift_store::StoreError;
use nightshift_store::records::Records;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub cluster: ClusterName,
    pub host: HostName,
    pub roles: String,
    /// The version of the daemon that answered; `None` if it is not running.
    pub daemon: Option<String>,
    pub at: Timestamp,
    /// The newest night, open or closed.
    pub night: Option<NightReport>,
    /// The result of the last closed scheduled night before that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Verdict>,
    /// Which night `before` belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_night: Option<Night>,
    /// The newest scheduled night that is complete. It may still be open, if all its stages are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_complete: Option<Night>,
    /// The newest scheduled night that is closed and restorable.
    #[serde(rename = "last_good")]
    pub last_restorable: Option<Night>,
    /// Why the last restorable night is too old.
    pub stale: Option<String>,
    /// When the next night opens.
    pub opens: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NightReport {
    pub open: bool,
    /// All planned stages have ended. Until the night closes, retries may still improve the result.
    pub settled: bool,
    pub verdict: Verdict,
    pub reasons: Vec<String>,
    pub record: Record,
    /// The progress of running stages, such as `pull-nodes` and `3/8`.
    pub progress: Vec<(String, String)>,
    /// The etcd sets of this night in this host's vault.
    #[serde(default)]
    pub etcd: Vec<EtcdState>,
}

impl Report {
    /// Whether an operator should act: the last finished night is not complete, or the backups are stale.
    pub fn needs_attention(&self) -> bool {
        // While a night is running, the night before it is the last finished one.
        let settled = match &self.night {
            Some(night) if night.settled => Some(night.verdict),
            _ => self.before,
        };
        self.stale.is_some() || settled.is_some_and(|verdict| verdict != Verdict::Complete)
    }
}

pub fn report(settings: &Settings, now: Timestamp) -> Result<Report, StoreError> {
    let records = Records::new(settings.paths.records());
    let newest = records.newest()?;
    let nights = records.nights()?;
    let mut last = LastNights::default();
    for night in nights.iter().rev().filter(|night| !night.is_extra()) {
        let Some(record) = records.read(*night)? else { continue };
        let is_newest = newest.as_ref().is_some_and(|newest| newest.night == *night);
        if last.add(&record, is_newest) {
            break;
        }
    }
    let LastNights { before, complete, restorable } = last;
    let window = &settings.window;
    Ok(Report {
        cluster: settings.cluster.clone(),
        host: settings.this.clone(),
        roles: settings.roles().to_string(),
        daemon: None,
        at: now,
        stale: stale(settings, now, restorable, nights.first().copied()),
        night: newest.map(|record| night_report(settings, record)).transpose()?,
        before: before.map(|(_, verdict)| verdict),
        before_night: before.map(|(night, _)| night),
        last_complete: complete,
        last_restorable: restorable,
        opens: window.opening(window.next_after(now)),
    })
}

#[derive(Default)]
struct LastNights {
    before: Option<(Night, Verdict)>,
    complete: Option<Night>,
    restorable: Option<Night>,
}

impl LastNights {
    /// Adds a night; call it with the newest first. Returns true when no older night can change the result.
    fn add(&mut self, record: &Record, is_newest: bool) -> bool {
        let night = record.night;
        if is_settled(record) && judgement(record).verdict == Verdict::Complete {
            self.complete.get_or_insert(night);
        }
        if let Some(closed) = &record.closed {
            if !is_newest {
                self.before.get_or_insert((night, closed.verdict));
            }
            if closed.verdict.is_restorable() {
                self.restorable.get_or_insert(night);
            }
        }
        self.before.is_some() && self.complete.is_some() && self.restorable.is_some()
    }
}

pub fn night_report(settings: &Settings, record: Record) -> Result<NightReport, StoreError> {
    let open = record.closed.is_none();
    let settled = is_settled(&record);
    let Judgement { verdict, reasons } = judgement(&record);
    let etcd = etcd_state::of_night(settings, &record)?;
    Ok(NightReport { open, settled, verdict, reasons, record, progress: Vec::new(), etcd })
}

/// Whether the night is closed, or all its planned stages have ended.
pub fn is_settled(record: &Record) -> bool {
    let has_ended = |stage| record.stages.get(stage).is_some_and(|state| state.outcome.is_some());
    record.closed.is_some() || record.planned.iter().all(has_ended)
}

/// The result of a closed night as it was recorded at its closing, or the result of an open night so far.
pub fn judgement(record: &Record) -> Judgement {
    match &record.closed {
        Some(closed) => Judgement { verdict: closed.verdict, reasons: closed.reasons.clone() },
        None => summary::judge(record),
    }
}

/// Every scheduled night that has closed should be restorable, except those before this host's first record.
fn stale(
    settings: &Settings,
    now: Timestamp,
    last_restorable: Option<Night>,
    oldest: Option<Night>,
) -> Option<String> {
    /// Some dates have no stage; a schedule has one at least once a month.
    const MAX_DAYS: usize = 40;
    let window = &settings.window;
    let mut date = now.to_zoned(window.zone.clone()).date();
    for _ in 0..MAX_DAYS {
        if window.closing(date) <= now && !NightPlan::of(settings, date).stages.is_empty() {
            break;
        }
        date = date.yesterday().ok()?;
    }
    oldest.filter(|oldest| oldest.date <= date)?;
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
    use super::*;

    #[test]
    fn while_a_night_is_running_the_result_of_the_night_before_decides_whether_an_operator_should_act() {
        let report = |before| Report {
            cluster: "prod".parse().unwrap(),
            host: "m1".parse().unwrap(),
            roles: "master".into(),
            daemon: None,
            at: Timestamp::UNIX_EPOCH,
            night: None,
            before,
            before_night: None,
            last_complete: None,
            last_restorable: None,
            stale: None,
            opens: Timestamp::UNIX_EPOCH,
        };
        for (before, attention) in [
            (None, false),
            (Some(Verdict::Complete), false),
            (Some(Verdict::Degraded), true),
            (Some(Verdict::Failed), true),
        ] {
            assert_eq!(report(before).needs_attention(), attention, "{before:?}");
        }
    }
}
