//! The result of a night, determined from its record.

use crate::outcome::{Grade, Outcome, Verdict};
use crate::proof::DrillVerdict;
use crate::record::{Expected, Fate, ProofReport, Record};
use crate::role::Role;
use crate::stage::Stage;

/// The result of a night, and everything that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    pub reasons: Vec<String>,
}

/// Determines the result of a night: the final one if it is closed, else the result so far.
pub fn judge(record: &Record) -> Judgement {
    let mut reasons = Vec::new();
    let mut failed = false;

    if !record.night.is_extra() {
        // A host that is not a master expects only its own set, which may not be needed (`members = "one"`).
        let wants_etcd = (record.expected.iter())
            .any(|expected| expected.role == Role::Etcd && !record.is_not_needed(expected));
        if wants_etcd && !record.has_copy(Role::Etcd) {
            failed = true;
            reasons.push("no good etcd snapshot of the cluster".to_owned());
        }
    }
    for expected in &record.expected {
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
    let failed_drills: Vec<String> = not_restorable(record).collect();
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
            reasons.push(format!("{stage} {outcome}{}", suffix(state.reason.as_deref())));
        }
    }
    if reasons.is_empty() {
        reasons.extend(partly_done(record));
    }
    let verdict = match (failed, reasons.is_empty()) {
        (true, _) => Verdict::Failed,
        (false, true) => Verdict::Complete,
        (false, false) => Verdict::Degraded,
    };
    Judgement { verdict, reasons }
}

/// `: REASON`, or nothing.
fn suffix(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

/// What is wrong with one expected set, if anything.
fn complaint(record: &Record, expected: &Expected) -> Option<String> {
    let Expected { host, role, new, .. } = expected;
    let Some(held) = record.best_set(host, *role) else {
        if *new || record.is_not_needed(expected) {
            return None;
        }
        return Some(format!("{host} {role}: missing{}", suffix(record.reason_for(host, *role))));
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
    (!states.is_empty()).then(|| format!("{host} {role}: {}", states.join(", ")))
}

/// The copies that could not be restored in a drill.
fn not_restorable(record: &Record) -> impl Iterator<Item = String> {
    let failed = record.proofs.iter().filter(|proof| proof.verdict == DrillVerdict::NotRestorable);
    failed.map(|ProofReport { set, by, reason, .. }| {
        format!("{by}'s copy of {set} does not restore{}", suffix(reason.as_deref()))
    })
}

/// Stages that completed only partly: a damaged set left out of the archive, a remote that cannot be pruned. Pulls are
/// not listed: the sets decide, because another master may have supplied what a pull did not get.
fn partly_done(record: &Record) -> impl Iterator<Item = String> {
    let parts = record.stages.iter().filter(|(stage, state)| {
        stage.pulls().is_none() && stage.makes().is_none() && state.outcome == Some(Outcome::Degraded)
    });
    parts.map(|(stage, state)| format!("{stage}: {}", state.reason.as_deref().unwrap_or("degraded")))
}

fn not_shipped(record: &Record) -> Vec<String> {
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
            reasons.push(format!("{} is not on remote {remote}{reason}", packed.archive));
        }
    }
    reasons
}

#[cfg(test)]
mod tests;
