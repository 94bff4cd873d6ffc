//! The status of a host as a value: its current or last night, whether its backups are stale, and what it stores.

mod etcd_state;
mod facts;
mod night;
mod restorable_night;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use etcd_state::EtcdState;
pub use facts::{
    ClosedNight, ExpiringCertificate, Facts, LastDrill, LastRun, LastSet, LastSnapshot, RemoteState, Space,
};
pub use restorable_night::{RestorableNight, SetDrill};

use crate::name::{ClusterName, HostName};
use crate::night::Night;
use crate::outcome::Verdict;
use crate::reason::{Reason, ReasonCode};
use crate::record::Record;
use crate::set_path::SetId;
use crate::stage::Stage;

/// The format of the report as JSON.
pub const FORMAT: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The format of its JSON. It changes if a field changes its meaning or goes; fields may be added.
    pub format: u32,
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
    /// The newest scheduled night that is closed and restorable: by its verdict, and by the plan that a master made of it.
    #[serde(rename = "last_good")]
    pub last_restorable: Option<Night>,
    /// How old that night is, and who proved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restorable: Option<RestorableNight>,
    /// Why the last restorable night is too old.
    pub stale: Option<String>,
    /// Why the night that is due does not open, or why the last one never did. Only a running daemon knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// What an operator should look at beside the nights: an unreadable record, a record from the future.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Reason>,
    /// The suspicious etcd sets of any night that wait for acceptance: until then no set of their hosts is pruned here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaiting: Vec<SetId>,
    /// What a restore would lack. It is not a fault of a night.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// When the next night opens.
    pub opens: Timestamp,
    /// `None` if the file system of the vault cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Space>,
    /// What each remote has, and what waits for it. Only masters ship.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remotes: Vec<RemoteState>,
    /// What is stored, and how the last nights went. Only for metrics: it takes a look at every host's sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NightReport {
    pub open: bool,
    /// It is open, and no daemon runs that continues it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// All planned stages have ended. Until the night closes, retries may still improve the result.
    pub settled: bool,
    pub verdict: Verdict,
    pub reasons: Vec<Reason>,
    /// The missing nodes that `[night] tolerate` allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerated: Vec<Reason>,
    pub record: Record,
    /// The progress of running stages, such as `pull-nodes` and `3/8`.
    pub progress: Vec<(String, String)>,
    /// What the waiting stages wait for. Only a running daemon knows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<(Stage, String)>,
    /// The etcd sets of this night in this host's vault.
    #[serde(default)]
    pub etcd: Vec<EtcdState>,
    /// What of them cannot be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
    /// The stored sets of the record that are not in the vault any more, or unreadable there: they count as missing.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gone: BTreeSet<SetId>,
}

impl Report {
    /// Whether a daemon answered. One that hangs opens no night either.
    pub fn is_answered(&self) -> bool {
        self.daemon.is_some() && !self.warnings.iter().any(|it| it.code == ReasonCode::DaemonSilent)
    }

    /// Whether an operator should act: the daemon does not run, a night does not open, the last finished night is not
    /// complete, or the backups are stale.
    pub fn needs_attention(&self) -> bool {
        self.daemon.is_none()
            || self.held.is_some()
            || self.stale.is_some()
            || !self.warnings.is_empty()
            || self.worst_verdict().is_some_and(|verdict| verdict != Verdict::Complete)
    }

    /// The worst result of the nights that count: the newest one if it is settled, and the finished one before it.
    pub fn worst_verdict(&self) -> Option<Verdict> {
        let settled = self.night.as_ref().filter(|night| night.settled);
        settled.map(|night| night.verdict).into_iter().chain(self.finished_before()).min()
    }

    /// The result of the night before the newest one, if it counts: until the newest one is settled. An extra night does not replace it.
    pub fn finished_before(&self) -> Option<Verdict> {
        let replaces = |night: &NightReport| night.settled && !night.record.night.is_extra();
        self.before.filter(|_| !self.night.as_ref().is_some_and(replaces))
    }

    /// The report without the record of the night, which is long and names files and errors: what metrics are made of.
    pub fn without_night(self) -> Self {
        let before = self.worst_verdict();
        Self { night: None, before, before_night: None, restorable: None, notes: Vec::new(), ..self }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixtures;

    #[test]
    fn while_a_night_is_running_the_result_of_the_night_before_decides_whether_an_operator_should_act() {
        let report = |before| Report { before, ..fixtures::report(Timestamp::UNIX_EPOCH) };
        for (before, attention) in [
            (None, false),
            (Some(Verdict::Complete), false),
            (Some(Verdict::Degraded), true),
            (Some(Verdict::Failed), true),
        ] {
            assert_eq!(report(before).needs_attention(), attention, "{before:?}");
            assert_eq!(report(before).without_night().needs_attention(), attention, "{before:?}");
        }
        assert!(Report { daemon: None, ..report(None) }.needs_attention(), "no daemon opens the next night");
        assert!(Report { held: Some("the clock".into()), ..report(None) }.needs_attention());
    }
}
