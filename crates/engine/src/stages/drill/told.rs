//! A drill's word on record and in the journal, once.

use nightshift_core::audit::{Event, Kind, Severity};
use nightshift_core::proof::DrillVerdict;
use nightshift_core::record::{ProofReport, Step};
use nightshift_core::units;

use crate::context::StageContext;
use nightshift_store::StoreError;

/// Records what a drill said, and tells it, unless the record knows it.
pub async fn known(ctx: &StageContext, report: ProofReport) -> Result<(), StoreError> {
    let same = |known: &ProofReport| {
        (&known.set, &known.by, known.verdict) == (&report.set, &report.by, report.verdict)
    };
    if ctx.record.look(|record| record.is_some_and(|record| record.proofs.iter().any(same))) {
        return Ok(());
    }
    ctx.note(Step::Proved(report.clone())).await?;
    ctx.tell(event(ctx, &report));
    Ok(())
}

/// What the journal gets of it.
pub fn event(ctx: &StageContext, report: &ProofReport) -> Event {
    let ProofReport { set, by, verdict, copy, reason, took_ms } = report;
    let (kind, severity) = match verdict {
        DrillVerdict::Proved => (Kind::DrillPassed, Severity::Info),
        DrillVerdict::NotRestorable => (Kind::DrillFailed, Severity::Error),
        DrillVerdict::NotProved => (Kind::NotProved, Severity::Warning),
    };
    let because = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let message = match verdict {
        DrillVerdict::Proved => {
            format!(
                "{set} proved by {by} in {}: {copy} was restored and took a write",
                units::seconds(*took_ms)
            )
        }
        _ => format!("{set} {verdict} by {by}, from {copy}{because}"),
    };
    Event {
        role: Some(set.role),
        peer: (*by != ctx.settings.this).then(|| by.clone()),
        path: Some(set.to_string()),
        duration_ms: Some(*took_ms),
        outcome: Some(verdict.as_str()),
        reason: reason.clone(),
        ..Event::new(kind, severity, message)
    }
}
