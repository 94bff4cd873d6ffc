//! The plan of a night on one host, as a value: `nightshift plan` prints the same value that the daemon runs.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::backoff;
use crate::backup::Backup;
use crate::inventory::Host;
use crate::name::HostName;
use crate::night::Night;
use crate::settings::Settings;
use crate::stage::Stage;
use crate::text::Text;

/// How long the pulls of an extra night of the whole cluster wait for a set: a snapshot of 8 GiB takes less, and the operator waits.
const PULL_TIME: SignedDuration = SignedDuration::from_mins(15);

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NightPlan {
    pub night: Night,
    pub host: HostName,
    pub opens: Timestamp,
    pub closes: Timestamp,
    /// Until when an archive that is already packed may continue shipping.
    pub next_opens: Timestamp,
    pub stages: Vec<PlannedStage>,
    /// The plan of the restore that this night proves.
    pub restored: Option<Text>,
    /// An operator backs up the whole cluster.
    pub backup: Option<Backup>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedStage {
    pub stage: Stage,
    /// The earliest time at which it may start.
    pub at: Timestamp,
    /// Until when it waits for missing sets.
    pub until: Timestamp,
    /// The hosts whose sets it pulls, in the order in which this host contacts them.
    pub peers: Vec<HostName>,
}

impl NightPlan {
    /// The night of `date` under these settings. It has no stages if none fires on that date.
    pub fn of(settings: &Settings, date: Date) -> Self {
        let window = &settings.window;
        let closes = window.closing(date);
        let roles = settings.roles();
        let stages = Stage::ALL
            .into_iter()
            .filter(|stage| stage.runs_on(roles))
            .filter_map(|stage| {
                let wanted = settings.stages.get(stage);
                let at = wanted.at.fires_in(date, window)?;
                let jitter = backoff::jitter(wanted.jitter, &format!("{}/{date}/{stage}", settings.this));
                let at = at.checked_add(jitter).unwrap_or(at);
                let until = wanted.until.map_or(closes, |time| until(settings, date, at, time));
                Some(PlannedStage { stage, at, until: until.min(closes), peers: peers(settings, stage) })
            })
            .collect();
        Self {
            night: Night::of(date),
            host: settings.this.clone(),
            opens: window.opening(date),
            closes,
            next_opens: date.tomorrow().map_or(closes, |next| window.opening(next)),
            stages,
            restored: None,
            backup: None,
        }
    }

    /// An extra night that an operator opens at `now`: each of these stages starts as soon as the stages it needs have
    /// ended.
    pub fn extra(settings: &Settings, night: Night, now: Timestamp, stages: &[Stage]) -> Self {
        let closes = now.checked_add(settings.window.length()).unwrap_or(now);
        let stages = stages
            .iter()
            .map(|stage| PlannedStage {
                stage: *stage,
                at: now,
                until: closes,
                peers: peers(settings, *stage),
            })
            .collect();
        Self {
            night,
            host: settings.this.clone(),
            opens: now,
            closes,
            next_opens: closes,
            stages,
            restored: None,
            backup: None,
        }
    }

    /// A night of the whole cluster, which proves a restore or is a backup: its pulls do not wait for long, because all hosts were
    /// requested at the same time.
    pub fn common(mut self, restored: Option<Text>, backup: Option<Backup>) -> Self {
        (self.restored, self.backup) = (restored, backup);
        if !self.is_common() {
            return self;
        }
        let until = self.opens.checked_add(PULL_TIME).unwrap_or(self.closes).min(self.closes);
        for planned in self.stages.iter_mut().filter(|planned| planned.stage.pulls().is_some()) {
            planned.until = until;
            let takes_part =
                |peer: &HostName| self.backup.as_ref().is_none_or(|it| !it.without.contains(peer));
            planned.peers.retain(takes_part);
        }
        self
    }

    /// Whether all hosts run it at the same time.
    pub const fn is_common(&self) -> bool {
        self.restored.is_some() || self.backup.is_some()
    }

    pub fn stage(&self, stage: Stage) -> Option<&PlannedStage> {
        self.stages.iter().find(|planned| planned.stage == stage)
    }
}

/// An `until` that is earlier than its `at` is on the next day.
fn until(settings: &Settings, date: Date, at: Timestamp, time: jiff::civil::Time) -> Timestamp {
    let until = settings.window.instant(date, time);
    match date.tomorrow() {
        Ok(next) if until < at => settings.window.instant(next, time),
        _ => until,
    }
}

fn peers(settings: &Settings, stage: Stage) -> Vec<HostName> {
    let Some(role) = stage.pulls() else { return Vec::new() };
    let mut peers: Vec<&Host> = settings.peers(role).collect();
    peers.sort_by_key(|peer| backoff::order(settings.this.as_str(), peer.name.as_str()));
    peers.into_iter().map(|peer| peer.name.clone()).collect()
}
