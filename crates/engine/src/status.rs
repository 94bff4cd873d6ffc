//! How it stands: the night so far or the last one, and what is stale. Made from records alone, so it can be
//! told with the daemon down.

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
    /// The version of the daemon that answered; absent when it is down.
    pub daemon: Option<String>,
    pub at: Timestamp,
    /// The newest night, open or closed.
    pub night: Option<NightReport>,
    /// How the last scheduled night before that one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Verdict>,
    /// The newest night that is closed and restorable.
    pub last_good: Option<Night>,
    /// Why no restorable night is as new as it should be.
    pub stale: Option<String>,
    /// When the next night opens.
    pub opens: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NightReport {
    pub open: bool,
    /// Nothing is running and nothing is left to do.
    pub settled: bool,
    pub verdict: Verdict,
    pub reasons: Vec<String>,
    pub record: Record,
    /// What each stage of an open night is at, for those that count.
    pub progress: Vec<(String, String)>,
    /// Of the etcd sets that are held here.
    #[serde(default)]
    pub etcd: Vec<EtcdState>,
}

impl Report {
    /// Whether somebody should look: the last settled night is not complete, or there is none in time.
    pub fn needs_attention(&self) -> bool {
        // Until tonight's work has settled, the night before is the last that has.
        let settled = match &self.night {
            Some(night) if night.settled => Some(night.verdict),
            _ => self.before,
        };
        self.stale.is_some() || settled.is_some_and(|verdict| verdict != Verdict::Complete)
    }
}

/// Puts the report together from what is on disk.
pub fn report(settings: &Settings, now: Timestamp) -> Result<Report, StoreError> {
    let records = Records::new(settings.paths.records());
    let newest = records.newest()?;
    let tonight = newest.as_ref().map(|record| record.night);
    let (mut before, mut last_good) = (None, None);
    for night in records.nights()?.into_iter().rev().filter(|night| !night.is_extra()) {
        let Some(closed) = records.read(night)?.and_then(|record| record.closed) else { continue };
        if Some(night) != tonight {
            before = before.or(Some(closed.verdict));
        }
        if closed.verdict.is_restorable() {
            last_good = Some(night);
            break;
        }
    }
    let window = &settings.window;
    Ok(Report {
        cluster: settings.cluster.clone(),
        host: settings.this.clone(),
        roles: settings.roles().to_string(),
        daemon: None,
        at: now,
        stale: stale(settings, now, last_good, records.nights()?.first().copied()),
        night: newest.map(|record| night_report(settings, record)).transpose()?,
        before,
        last_good,
        opens: window.opening(window.next_after(now)),
    })
}

/// A record, judged: as it was at its closing, or so far.
pub fn night_report(settings: &Settings, record: Record) -> Result<NightReport, StoreError> {
    let open = record.closed.is_none();
    let settled = !open
        || record.planned.iter().all(|stage| record.stages.get(stage).is_some_and(|s| s.outcome.is_some()));
    let (verdict, reasons) = match &record.closed {
        Some(closed) => (closed.verdict, closed.reasons.clone()),
        None => {
            let Judgement { verdict, reasons } = summary::judge(&record);
            (verdict, reasons)
        }
    };
    let etcd = etcd_state::of_night(settings, &record)?;
    Ok(NightReport { open, settled, verdict, reasons, record, progress: Vec::new(), etcd })
}

/// A restorable night is due once its closing has passed, if this host kept records by then.
fn stale(
    settings: &Settings,
    now: Timestamp,
    last_good: Option<Night>,
    oldest: Option<Night>,
) -> Option<String> {
    const LOOK_BACK: usize = 40;
    let window = &settings.window;
    let mut date = now.to_zoned(window.zone.clone()).date();
    for _ in 0..LOOK_BACK {
        if window.closing(date) <= now && !NightPlan::of(settings, date).stages.is_empty() {
            break;
        }
        date = date.yesterday().ok()?;
    }
    oldest.filter(|oldest| oldest.date <= date)?;
    match last_good {
        Some(good) if good.date >= date => None,
        Some(good) => Some(format!("the last restorable night is {good}, and {date} has closed since")),
        None => Some(format!("no restorable night is recorded, and {date} has closed")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn until_tonight_has_settled_the_night_before_says_whether_somebody_should_look() {
        let report = |before| Report {
            cluster: "prod".parse().unwrap(),
            host: "m1".parse().unwrap(),
            roles: "master".into(),
            daemon: None,
            at: Timestamp::UNIX_EPOCH,
            night: None,
            before,
            last_good: None,
            stale: None,
            opens: Timestamp::UNIX_EPOCH,
        };
        for (before, look) in [
            (None, false),
            (Some(Verdict::Complete), false),
            (Some(Verdict::Degraded), true),
            (Some(Verdict::Failed), true),
        ] {
            assert_eq!(report(before).needs_attention(), look, "{before:?}");
        }
    }
}
