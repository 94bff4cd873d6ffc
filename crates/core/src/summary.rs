//! The result of a night, determined from its record.

mod tolerated;

use std::collections::{BTreeMap, BTreeSet};

use crate::hook::Occasion;
use crate::outcome::{Grade, Outcome, Verdict};
use crate::proof::DrillVerdict;
use crate::reason::{Reason, ReasonCode};
use crate::record::{Expected, Fate, ProofReport, Record};
use crate::role::Role;
use crate::set_path::SetId;
use crate::stage::Stage;
use crate::text::one_line;
use tolerated::tolerated;

/// The result of a night, and everything that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    pub reasons: Vec<Reason>,
    /// The missing nodes that the night tolerates.
    pub tolerated: Vec<Reason>,
}

/// Determines the result of a night: the final one if it is closed, else the result so far.
pub fn judge(record: &Record) -> Judgement {
    let mut reasons = Vec::new();
    let mut failed = false;
    let may_lack = tolerated(record);
    let mut tolerated = Vec::new();

    // An operator may run one stage alone; a night that all hosts run is a backup of the cluster.
    if !record.night.is_extra() || record.is_common() {
        // A host that is not a master expects only its own set, which may not be needed (`members = "one"`).
        let wants_etcd = (record.expected.iter())
            .any(|expected| expected.role == Role::Etcd && !record.is_not_needed(expected));
        if wants_etcd && !record.has_copy(Role::Etcd) {
            failed = true;
            reasons.push(Reason::new(ReasonCode::NoEtcdSnapshot, "no good etcd snapshot of the cluster"));
        }
    }
    for expected in &record.expected {
        if may_lack.contains(&expected) {
            tolerated.extend(complaint(record, expected).map(|reason| as_tolerated(expected, &reason)));
            continue;
        }
        let own = expected.host == record.host;
        if let Some(reason) = complaint(record, expected) {
            let good_copy = record
                .best_set(&expected.host, expected.role)
                .and_then(|report| report.grade)
                .is_some_and(Grade::is_copy);
            failed |= own && !good_copy;
            reasons.push(reason);
        }
    }
    reasons.extend(not_shipped(record));
    let failed_drills: Vec<Reason> = not_restorable(record).collect();
    let drill_failed = !failed_drills.is_empty();
    failed |= drill_failed && !record.proofs.iter().any(|proof| proof.verdict == DrillVerdict::Proved);
    reasons.extend(failed_drills);
    for (stage, state) in &record.stages {
        // The sets' own reasons cover a degraded pull or pack. Only the stage itself reports why prune is degraded, which
        // archive a remote has lost, or why nothing is proved.
        let covered = |outcome| {
            let only_here =
                matches!(stage, Stage::Prune | Stage::ShipArchive) || *stage == Stage::Drill && !drill_failed;
            outcome == Outcome::Degraded && !only_here
        };
        let outcome = state.outcome.filter(|outcome| *outcome != Outcome::Done && !covered(*outcome));
        if let Some(outcome) = outcome {
            let text = format!("{stage} {outcome}{}", suffix(state.reason.as_deref()));
            reasons.push(Reason::new(code_of(outcome), text));
        }
    }
    if reasons.is_empty() {
        reasons.extend(partly_done(record, &may_lack));
    }
    // One after the night cannot change its result any more.
    for failed in record.failed_hooks(|at| at != Occasion::AFTER_NIGHT) {
        if !reasons.iter().any(|reason| reason.text.contains(&failed)) {
            reasons.push(Reason::new(ReasonCode::HookFailed, failed));
        }
    }
    let verdict = match (failed, reasons.is_empty()) {
        (true, _) => Verdict::Failed,
        (false, true) => Verdict::Complete,
        (false, false) => Verdict::Degraded,
    };
    Judgement { verdict, reasons, tolerated }
}

impl Judgement {
    /// The result of a closed night as it was recorded. A record has the sentences alone: their codes are those of the same sentences
    /// in this judgement of its record.
    pub fn closed(self, verdict: Verdict, texts: &[String]) -> Self {
        let code = |text: &String| {
            let same = self.reasons.iter().find(|reason| one_line(&reason.text) == *text);
            let is_early = text.starts_with(CLOSED_EARLY);
            same.map_or(if is_early { ReasonCode::ClosedEarly } else { ReasonCode::Other }, |same| same.code)
        };
        let reasons = texts.iter().map(|text| Reason::new(code(text), text)).collect();
        Self { verdict, reasons, tolerated: self.tolerated }
    }
}

/// How the reason of a night begins that closed before its time.
pub const CLOSED_EARLY: &str = "closed before its time";

const fn code_of(outcome: Outcome) -> ReasonCode {
    match outcome {
        Outcome::Done | Outcome::Degraded => ReasonCode::StageDegraded,
        Outcome::Failed => ReasonCode::StageFailed,
        Outcome::Missed => ReasonCode::StageMissed,
        Outcome::Interrupted => ReasonCode::StageInterrupted,
    }
}

const fn code_of_grade(grade: Option<Grade>) -> ReasonCode {
    match grade {
        // A good set is late.
        Some(Grade::Good) => ReasonCode::SetLate,
        Some(Grade::Degraded) => ReasonCode::SetDegraded,
        Some(Grade::Suspicious) => ReasonCode::SetSuspicious,
        Some(Grade::Diverged) => ReasonCode::SetDiverged,
        Some(Grade::Bad) => ReasonCode::SetBad,
        None => ReasonCode::SetUnchecked,
    }
}

/// How many expected sets a night lacks, for each role of which it expected one. Those in `gone` were stored, and are not there any
/// more.
pub fn missing_sets(record: &Record, gone: &BTreeSet<SetId>) -> BTreeMap<Role, u32> {
    let mut missing = BTreeMap::new();
    for expected in &record.expected {
        let is_missing = match record.best_set(&expected.host, expected.role) {
            Some(stored) => gone.contains(&stored.set),
            None => !expected.new && !record.is_not_needed(expected),
        };
        *missing.entry(expected.role).or_default() += u32::from(is_missing);
    }
    missing
}

/// `: REASON`, or nothing.
fn suffix(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

/// What is wrong with one expected set, if anything.
fn complaint(record: &Record, expected: &Expected) -> Option<Reason> {
    let Expected { host, role, new, .. } = expected;
    let Some(held) = record.best_set(host, *role) else {
        if *new || record.is_not_needed(expected) {
            return None;
        }
        let text = format!("{host} {role}: missing{}", suffix(record.reason_for(host, *role)));
        return Some(Reason::new(ReasonCode::SetMissing, text));
    };
    let mut states = Vec::new();
    if held.grade != Some(Grade::Good) {
        let grade = held.grade.map_or("unchecked", Grade::as_str).to_owned();
        states.push(match &held.reason {
            Some(reason) => format!("{grade} ({reason})"),
            None => grade,
        });
    }
    if held.fate == Fate::Late {
        states.push("late".to_owned());
    }
    let text = format!("{host} {role}: {}", states.join(", "));
    (!states.is_empty()).then(|| Reason::new(code_of_grade(held.grade), text))
}

/// The reason that a set is missing, as one that is not a fault.
fn as_tolerated(expected: &Expected, reason: &Reason) -> Reason {
    let last = expected.last_good.map(|night| format!(", because its last good set is of {night}"));
    let text = format!("{}; tolerated{}", reason.text, last.unwrap_or_default());
    Reason::new(ReasonCode::SetTolerated, text)
}

/// The copies that could not be restored in a drill.
fn not_restorable(record: &Record) -> impl Iterator<Item = Reason> {
    let failed = record.proofs.iter().filter(|proof| proof.verdict == DrillVerdict::NotRestorable);
    failed.map(|ProofReport { set, by, reason, .. }| {
        let text = format!("{by}'s copy of {set} does not restore{}", suffix(reason.as_deref()));
        Reason::new(ReasonCode::DrillFailed, text)
    })
}

/// Stages that completed only partly: a damaged set left out of the archive, a remote that cannot be pruned. Pulls are
/// not listed: the sets decide, because another master may have supplied what a pull did not get.
fn partly_done(record: &Record, may_lack: &[&Expected]) -> impl Iterator<Item = Reason> {
    let lacks_more = record.archives.last().is_none_or(|packed| packed.lacks_more_than(may_lack));
    let parts = record.stages.iter().filter(move |(stage, state)| {
        stage.pulls().is_none()
            && stage.makes().is_none()
            && (**stage != Stage::PackArchive || lacks_more)
            && state.outcome == Some(Outcome::Degraded)
    });
    parts.map(|(stage, state)| {
        let text = format!("{stage}: {}", state.reason.as_deref().unwrap_or("degraded"));
        Reason::new(ReasonCode::StageDegraded, text)
    })
}

fn not_shipped(record: &Record) -> Vec<Reason> {
    if !record.planned.contains(&Stage::ShipArchive) {
        return Vec::new();
    }
    let mut reasons = Vec::new();
    for packed in &record.archives {
        for remote in &record.remotes {
            let shipment = record
                .shipped
                .iter()
                .find(|shipment| shipment.archive == packed.archive && shipment.remote == *remote);
            if shipment.is_some_and(|shipment| shipment.verified.is_some()) {
                continue;
            }
            let reason = suffix(shipment.and_then(|shipment| shipment.reason.as_deref()));
            let text = format!("{} is not on remote {remote}{reason}", packed.archive);
            reasons.push(Reason::new(ReasonCode::ArchiveNotShipped, text));
        }
    }
    reasons
}

#[cfg(test)]
mod tests;
