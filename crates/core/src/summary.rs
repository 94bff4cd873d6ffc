//! What a night was worth, judged from its record.

use crate::outcome::{Grade, Outcome, Verdict};
use crate::proof::DrillVerdict;
use crate::record::{Expected, Fate, ProofReport, Record};
use crate::role::Role;
use crate::stage::Stage;

/// The verdict on a night, with everything that is wrong by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    pub reasons: Vec<String>,
}

/// Judges a record: once its night is closed, or so far.
pub fn judge(record: &Record) -> Judgement {
    let mut reasons = Vec::new();
    let mut failed = false;

    if !record.night.is_extra() {
        // A host that is no master sees nobody's but its own, which it may have left to another.
        let wants_etcd = (record.expected.iter())
            .any(|expected| expected.role == Role::Etcd && !record.is_left_to_another(expected));
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
    let unfit: Vec<String> = not_restorable(record).collect();
    failed |= !unfit.is_empty() && !record.proofs.iter().any(|proof| proof.verdict == DrillVerdict::Proved);
    let told_by_proofs = !unfit.is_empty();
    reasons.extend(unfit);
    for (stage, state) in &record.stages {
        // What a pull or a pack lacks is told set by set; what prune found, or why nothing is proved, by nothing else.
        let told_elsewhere = |outcome| {
            let alone = *stage == Stage::Prune || *stage == Stage::Drill && !told_by_proofs;
            outcome == Outcome::Degraded && !alone
        };
        let amiss = state.outcome.filter(|outcome| *outcome != Outcome::Done && !told_elsewhere(*outcome));
        if let Some(outcome) = amiss {
            let because = state.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            reasons.push(format!("{stage} {outcome}{because}"));
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

/// What is wrong with one expected set, if anything is.
fn complaint(record: &Record, expected: &Expected) -> Option<String> {
    let Expected { host, role, new, .. } = expected;
    let Some(held) = record.best_set(host, *role) else {
        if *new || record.is_left_to_another(expected) {
            return None;
        }
        let reason = record.reason_for(host, *role).map(|reason| format!(": {reason}")).unwrap_or_default();
        return Some(format!("{host} {role}: missing{reason}"));
    };
    let mut words = Vec::new();
    if held.grade != Some(Grade::Good) {
        let grade = held.grade.map_or_else(|| "not judged".to_owned(), |grade| grade.to_string());
        words.push(match &held.reason {
            Some(reason) => format!("{grade} ({reason})"),
            None => grade,
        });
    }
    if held.fate == Fate::Late {
        words.push("late".to_owned());
    }
    (!words.is_empty()).then(|| format!("{host} {role}: {}", words.join(", ")))
}

/// The copies that were tried and do not restore.
fn not_restorable(record: &Record) -> impl Iterator<Item = String> {
    let unfit = record.proofs.iter().filter(|proof| proof.verdict == DrillVerdict::NotRestorable);
    unfit.map(|ProofReport { set, by, reason, .. }| {
        let because = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{by}'s copy of {set} does not restore{because}")
    })
}

/// Work on what is held that was done in part only: a damaged set left out of the archive, a remote that cannot be
/// pruned. A pull that lacks something is judged by the sets, for another master may have made it good.
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
            let because = shipment
                .and_then(|shipment| shipment.reason.as_deref())
                .map(|reason| format!(": {reason}"))
                .unwrap_or_default();
            reasons.push(format!("{} is not on remote {remote}{because}", packed.archive));
        }
    }
    reasons
}

#[cfg(test)]
mod tests;
