//! The record: what happened in one night on one host. While the night is open, it is a log of lines.

mod hook_report;
mod line;
mod proof_report;
mod remote_copies;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backup::Backup;
use crate::hook::Occasion;
use crate::name::{HostName, RemoteName};
use crate::night::Night;
use crate::outcome::{Grade, Outcome, Verdict};
use crate::restorable::Restorable;
use crate::role::Role;
use crate::secrets::SecretsReport;
use crate::set_path::SetId;
use crate::stage::Stage;
use crate::text::Text;
use crate::tolerance::Tolerance;

pub use hook_report::HookReport;
pub use line::{Expected, Fate, Line, Packed, Recheck, Rechecked, SetReport, Shipment, StartReason, Step};
pub use proof_report::ProofReport;
pub use remote_copies::LostCopies;

/// The format that is written, and the newest one that is read.
pub const FORMAT: u32 = 1;

/// A night, put together from its lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub format: u32,
    pub night: Night,
    pub host: HostName,
    pub version: String,
    pub opened: Timestamp,
    pub closes: Timestamp,
    pub expected: Vec<Expected>,
    pub planned: Vec<Stage>,
    pub remotes: Vec<RemoteName>,
    /// The plan of the restore that the night proves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Text>,
    /// An operator backed up the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
    /// How many nodes may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerate: Option<Tolerance>,
    pub stages: BTreeMap<Stage, StageRecord>,
    pub sets: Vec<SetReport>,
    pub archives: Vec<Packed>,
    pub shipped: Vec<Shipment>,
    /// The kit of this host, for each remote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kits: Vec<Shipment>,
    /// The archives on remotes that were verified again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rechecked: Vec<Recheck>,
    /// For each other master: which of this host's etcd sets it has too.
    #[serde(default)]
    pub seen: BTreeMap<HostName, BTreeSet<SetId>>,
    #[serde(default)]
    pub proofs: Vec<ProofReport>,
    /// The encrypted values of sets, as this host checked them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<CheckedSecrets>,
    /// Whether a restore from this host's vault is possible, by the plan that this host made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restorable: Option<Restorable>,
    /// The last run of each hook.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookReport>,
    pub pruned: Vec<Pruned>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
    /// The time of its last line.
    pub newest: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    pub attempts: u32,
    pub started: Timestamp,
    pub why: StartReason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default)]
    pub duration_ms: u64,
}

impl StageRecord {
    const fn started(attempts: u32, started: Timestamp, why: StartReason) -> Self {
        Self { attempts, started, why, ended: None, outcome: None, reason: None, duration_ms: 0 }
    }
}

/// The encrypted values of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedSecrets {
    pub set: SetId,
    #[serde(flatten)]
    pub report: SecretsReport,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    pub what: String,
    #[serde(rename = "because")]
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    pub at: Timestamp,
    pub verdict: Verdict,
    pub reasons: Vec<String>,
}

impl Record {
    /// Puts a night together from its lines; `None` if none of them opens it. Lines before that one are ignored: the first
    /// line may have been damaged, and then the daemon wrote it again.
    pub fn from_lines(lines: impl IntoIterator<Item = Line>) -> Option<Self> {
        let mut lines = lines.into_iter();
        let mut record = lines.find_map(Self::opened)?;
        for line in lines {
            record.apply(line);
        }
        Some(record)
    }

    fn opened(line: Line) -> Option<Self> {
        let Step::Opened {
            format,
            night,
            host,
            version,
            closes,
            expected,
            stages,
            remotes,
            restored,
            backup,
            tolerate,
        } = line.step
        else {
            return None;
        };
        Some(Self {
            format,
            night,
            host,
            version,
            opened: line.at,
            closes,
            expected,
            planned: stages,
            remotes,
            restored,
            backup,
            tolerate,
            stages: BTreeMap::new(),
            sets: Vec::new(),
            archives: Vec::new(),
            shipped: Vec::new(),
            kits: Vec::new(),
            rechecked: Vec::new(),
            seen: BTreeMap::new(),
            proofs: Vec::new(),
            secrets: Vec::new(),
            restorable: None,
            hooks: Vec::new(),
            pruned: Vec::new(),
            closed: None,
            newest: line.at,
        })
    }

    /// Whether all hosts of the cluster run it at the same time.
    pub const fn is_common(&self) -> bool {
        self.restored.is_some() || self.backup.is_some()
    }

    pub fn apply(&mut self, line: Line) {
        let Line { at, step } = line;
        self.newest = self.newest.max(at);
        match step {
            Step::Opened { .. } => {}
            Step::Started { stage, attempt, why } => {
                self.stages.insert(stage, StageRecord::started(attempt, at, why));
            }
            Step::Set(report) => self.put_set(report),
            Step::Packed(packed) => self.archives.push(packed),
            Step::Shipped { archive, remote, sha256, verified, stored_as, .. } => {
                self.put_shipment(Shipment {
                    archive,
                    remote,
                    sha256: Some(sha256),
                    verified: Some(verified),
                    reason: None,
                    stored_as,
                });
            }
            Step::NotShipped { archive, remote, reason } => {
                self.put_shipment(Shipment {
                    archive,
                    remote,
                    sha256: None,
                    verified: None,
                    reason: Some(reason),
                    stored_as: None,
                });
            }
            Step::Kit(kit) => {
                self.kits.retain(|known| known.remote != kit.remote);
                self.kits.push(kit);
            }
            Step::Rechecked(recheck) => {
                self.rechecked
                    .retain(|known| known.remote != recheck.remote || known.archive != recheck.archive);
                self.rechecked.push(recheck);
            }
            Step::Seen { master, sets } => self.seen.entry(master).or_default().extend(sets),
            Step::Proved(report) => self.proofs.push(report),
            Step::Secrets { set, report } => self.put_secrets(CheckedSecrets { set, report }),
            Step::Restorable(restorable) => self.restorable = Some(restorable),
            Step::Hook(report) => self.put_hook(report),
            Step::Pruned { what, reason } => self.pruned.push(Pruned { what, reason }),
            Step::Ended { stage, attempt, outcome, reason, duration_ms } => {
                let entry = self.stages.entry(stage);
                let entry = entry.or_insert(StageRecord::started(attempt, at, StartReason::Due));
                entry.ended = Some(at);
                entry.outcome = Some(outcome);
                entry.reason = reason;
                entry.duration_ms = duration_ms;
            }
            Step::Closed { verdict, reasons } => self.closed = Some(Closed { at, verdict, reasons }),
        }
    }

    /// The newest report of a set replaces earlier ones.
    fn put_set(&mut self, report: SetReport) {
        match self.sets.iter_mut().find(|known| known.set == report.set) {
            // A stored set stays stored, also if a later pull cannot reach the peer.
            Some(known) if known.fate.is_stored() && !report.fate.is_stored() => {}
            // "Refused" has more information than "missing".
            Some(known) if known.fate == Fate::Refused && report.fate == Fate::Missing => {}
            Some(known) => *known = report,
            None => self.sets.push(report),
        }
    }

    /// The newest check of a set replaces earlier ones.
    fn put_secrets(&mut self, checked: CheckedSecrets) {
        self.secrets.retain(|known| known.set != checked.set);
        self.secrets.push(checked);
    }

    /// What is known of a set's encrypted values: by this host's own check, else by the last drill that decrypted them, else by
    /// any drill. That they decrypt, or do not, counts only where it was found out on a master.
    pub fn secrets_of(&self, set: &SetId, is_master: impl Fn(&HostName) -> bool) -> Option<&SecretsReport> {
        let own = self.secrets.iter().find(|checked| checked.set == *set).map(|checked| &checked.report);
        let reports = || {
            let drilled = self.proofs.iter().rev().filter(|proof| proof.set == *set);
            drilled
                .filter_map(|proof| Some((proof, proof.secrets.as_ref()?)))
                .filter(|(proof, report)| report.is_unchecked() || report.values == 0 || is_master(&proof.by))
                .map(|(_, report)| report)
        };
        own.or_else(|| reports().find(|report| !report.is_unchecked())).or_else(|| reports().next())
    }

    fn put_shipment(&mut self, shipment: Shipment) {
        let known = self
            .shipped
            .iter_mut()
            .find(|known| known.archive == shipment.archive && known.remote == shipment.remote);
        match known {
            Some(known) => *known = shipment,
            None => self.shipped.push(shipment),
        }
    }

    /// The best stored set of a host and role: the best grade, then the highest attempt.
    pub fn best_set(&self, host: &HostName, role: Role) -> Option<&SetReport> {
        self.sets
            .iter()
            .filter(|report| report.set.host == *host && report.set.role == role && report.fate.is_stored())
            .max_by_key(|report| (report.grade, report.set.attempt))
    }

    /// The other masters that have the same set.
    pub fn masters_with(&self, set: &SetId) -> impl Iterator<Item = &HostName> {
        self.seen.iter().filter(|(_, sets)| sets.contains(set)).map(|(master, _)| master)
    }

    /// Whether the night is closed, or all its planned stages have ended.
    pub fn is_settled(&self) -> bool {
        let has_ended = |stage| self.stages.get(stage).is_some_and(|state| state.outcome.is_some());
        self.closed.is_some() || self.planned.iter().all(has_ended)
    }

    /// Whether a copy of this role is stored, of any host.
    pub fn has_copy(&self, role: Role) -> bool {
        let is_copy =
            |report: &SetReport| report.fate.is_stored() && report.grade.is_some_and(Grade::is_copy);
        self.sets.iter().any(|report| report.set.role == role && is_copy(report))
    }

    /// Whether it is an extra night that only ships what waits in the outbox: it says nothing of any set.
    pub fn only_ships(&self) -> bool {
        self.night.is_extra() && self.planned == [Stage::ShipArchive] && self.sets.is_empty()
    }

    /// Whether an absent set is not needed, because one set of any host is enough (`members = "one"`): either such a set
    /// is stored here, or this host's own stage ended well without a set because another host's exists.
    pub fn is_not_needed(&self, expected: &Expected) -> bool {
        let not_needed = || {
            let stage = Stage::ALL.into_iter().find(|stage| stage.makes() == Some(expected.role));
            expected.host == self.host && stage.is_some_and(|stage| self.has_done_its_work(stage))
        };
        expected.any
            && self.best_set(&expected.host, expected.role).is_none()
            && (self.has_copy(expected.role) || not_needed())
    }

    /// The newest report of a hook replaces earlier ones.
    fn put_hook(&mut self, report: HookReport) {
        self.hooks.retain(|known| known.name != report.name);
        self.hooks.push(report);
    }

    /// Why hooks of this occasion failed.
    pub fn failed_hooks(&self, is_one: impl Fn(Occasion) -> bool) -> impl Iterator<Item = String> {
        self.hooks.iter().filter(move |report| is_one(report.at)).filter_map(HookReport::failure)
    }

    /// Whether a stage did all that it had to do. A failed hook degrades it, and changes nothing of its work.
    fn has_done_its_work(&self, stage: Stage) -> bool {
        let outcome = self.stages.get(&stage).and_then(|state| state.outcome);
        outcome == Some(Outcome::Done)
            || outcome == Some(Outcome::Degraded)
                && self.failed_hooks(|at| at.stage == Some(stage)).next().is_some()
    }

    fn expects(&self, host: &HostName, role: Role) -> bool {
        self.expected.iter().any(|expected| expected.host == *host && expected.role == role)
    }

    /// Why a set is missing: the last reported reason.
    pub fn reason_for(&self, host: &HostName, role: Role) -> Option<&str> {
        self.sets
            .iter()
            .rev()
            .filter(|report| report.set.host == *host && report.set.role == role)
            .find_map(|report| report.reason.as_deref())
    }
}

/// For how many nights a host counts as new: until then a set that it has never published is not missing.
pub const NEW_FOR_NIGHTS: usize = 2;

/// Whether a host was recently added to the inventory. `earlier` are this host's last `NEW_FOR_NIGHTS + 1` scheduled
/// nights. Without earlier nights no host counts as new, because otherwise all would.
pub fn is_new(host: &HostName, role: Role, earlier: &[Record]) -> bool {
    let listed = earlier.iter().filter(|record| record.expects(host, role)).count();
    listed < earlier.len() && listed < NEW_FOR_NIGHTS
}

#[cfg(test)]
mod tests;
