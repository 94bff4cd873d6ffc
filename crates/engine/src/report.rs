//! What a stage reports: a step of the night's record, and the journal's events that follow from it.

use nightshift_core::audit::{Event, Kind, Severity};
use nightshift_core::outcome::Grade;
use nightshift_core::proof::DrillVerdict;
use nightshift_core::record::{
    Fate, HookReport, ProofReport, Recheck, Rechecked, SetReport, Shipment, StartReason, Step,
};
use nightshift_core::secrets::SecretsReport;
use nightshift_core::set_path::SetId;
use nightshift_core::units;
use nightshift_store::StoreError;

use crate::context::StageContext;

impl StageContext {
    /// Writes a step to the record, on disk before this returns, and its events to the journal.
    pub async fn report(&self, step: Step) -> Result<(), StoreError> {
        let events = events(self, &step);
        self.report_as(step, events).await
    }

    /// As `report`, on a thread that may block.
    pub fn report_blocking(&self, step: Step) -> Result<(), StoreError> {
        let events = events(self, &step);
        let recorded = self.record.note(step);
        events.into_iter().for_each(|event| self.log(event));
        recorded
    }

    /// As `report`, with events of the caller's, which knows more than the record. If the record cannot be written, the
    /// journal has the report nevertheless.
    pub async fn report_as(
        &self,
        step: Step,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<(), StoreError> {
        let events: Vec<Event> = events.into_iter().collect();
        let recorded = self.note(step).await;
        events.into_iter().for_each(|event| self.log(event));
        recorded
    }
}

/// `status` has what it lacks.
fn kit_of(kit: &Shipment) -> Option<Event> {
    let (name, remote) = (kit.name_there(), &kit.remote);
    let reason = kit.reason.as_ref().filter(|_| kit.verified.is_none())?;
    let event =
        Event::degraded(Kind::OperationFailed, format!("{name} not shipped to remote {remote}"), reason);
    Some(Event { path: Some(name.to_owned()), ..event })
}

fn events(ctx: &StageContext, step: &Step) -> Vec<Event> {
    match step {
        Step::Set(report) => set(ctx, report),
        Step::Proved(report) => {
            let secrets = report.secrets.as_ref().filter(|secrets| !secrets.is_unchecked());
            [proof(ctx, report)]
                .into_iter()
                .chain(secrets.and_then(|it| secrets_of(&report.set, it)))
                .collect()
        }
        Step::Secrets { set, report } => secrets_of(set, report).into_iter().collect(),
        Step::Shipped { archive, remote, bytes, sha256, verified, stored_as } => vec![Event {
            path: Some(archive.clone()),
            bytes: Some(*bytes),
            sha256: Some(*sha256),
            outcome: Some("shipped"),
            ..Event::info(
                Kind::ArchiveShipped,
                format!(
                    "{archive} shipped to remote {remote}{}: {}, {verified}",
                    stored_as.as_ref().map(|name| format!(" as {name}")).unwrap_or_default(),
                    units::bytes(*bytes)
                ),
            )
        }],
        Step::Rechecked(recheck) => rechecked(recheck).into_iter().collect(),
        Step::Kit(kit) => kit_of(kit).into_iter().collect(),
        Step::NotShipped { archive, remote, reason } => vec![Event {
            path: Some(archive.clone()),
            ..Event::failed(
                Kind::ArchiveNotShipped,
                format!("{archive} not shipped to remote {remote}"),
                reason,
            )
        }],
        Step::Pruned { what, reason } => vec![Event {
            path: Some(what.clone()),
            reason: Some(reason.clone()),
            ..Event::info(Kind::Pruned, format!("{what} removed: {reason}"))
        }],
        Step::Hook(report) => hook(report).into_iter().collect(),
        // A packed archive is reported with events of its stage's.
        Step::Packed(_) | Step::Opened { .. } | Step::Started { .. } | Step::Seen { .. } => Vec::new(),
        Step::Ended { .. } | Step::Closed { .. } | Step::Restorable(_) => Vec::new(),
    }
}

/// The end of a hook; nothing if it is due.
pub fn hook(report: &HookReport) -> Option<Event> {
    let outcome = report.outcome?;
    let severity = if report.has_failed() { Severity::Warning } else { Severity::Info };
    let reason = report.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let message = format!("hook {} ({}) {outcome}{reason}", report.name, report.at);
    Some(Event {
        stage: report.at.stage,
        duration_ms: Some(report.duration_ms),
        outcome: Some(outcome.as_str()),
        reason: report.reason.clone(),
        ..Event::new(Kind::HookEnded, severity, message)
    })
}

/// One that is as it was shipped is in the record alone.
fn rechecked(Recheck { archive, remote, result }: &Recheck) -> Option<Event> {
    let event = match result {
        Rechecked::Verified(_) => return None,
        Rechecked::Wrong(reason) => {
            Event::failed(Kind::ArchiveDamaged, format!("{archive} on remote {remote}"), reason)
        }
        Rechecked::Unchecked(reason) => Event::degraded(
            Kind::OperationFailed,
            format!("{archive} on remote {remote} was not verified again"),
            reason,
        ),
    };
    Some(Event { path: Some(archive.clone()), ..event })
}

fn set(ctx: &StageContext, report: &SetReport) -> Vec<Event> {
    let SetReport { set, fate, grade, from, bytes, sha256, reason, .. } = report;
    // A later run of the stage that does not find the set either is not reported again.
    if *fate == Fate::Missing && ctx.why == StartReason::MissingSets {
        return Vec::new();
    }
    let why = reason.as_deref().unwrap_or("unknown reason");
    let stored = format!("{}, {}", grade.map_or(why, |grade| grade.as_str()), units::bytes(*bytes));
    let (kind, severity, outcome, message) = match fate {
        Fate::Published => (
            Kind::SetPublished,
            grade.map_or(Severity::Error, severity),
            grade.map(Grade::as_str),
            format!("{set} published: {stored}"),
        ),
        Fate::Pulled => (Kind::SetPulled, Severity::Info, Some("pulled"), format!("{set} pulled: {stored}")),
        Fate::Late => (Kind::SetLate, Severity::Info, Some("late"), format!("{set} pulled late: {stored}")),
        Fate::Missing => {
            (Kind::SetMissing, Severity::Warning, Some("missing"), format!("{set} is missing: {why}"))
        }
        Fate::Refused => {
            (Kind::SetRefused, Severity::Error, Some("refused"), format!("{set} refused: {why}"))
        }
    };
    let event = Event {
        peer: from.clone().or_else(|| (set.host != ctx.settings.this).then(|| set.host.clone())),
        role: Some(set.role),
        path: fate.is_stored().then(|| ctx.vault.directory(set).display().to_string()),
        bytes: fate.is_stored().then_some(*bytes),
        sha256: *sha256,
        outcome,
        reason: reason.clone(),
        ..Event::new(kind, severity, message)
    };
    let arrived = matches!(fate, Fate::Pulled | Fate::Late);
    let diverged = arrived.then(|| diverged(report)).flatten();
    diverged.into_iter().chain([event]).collect()
}

const fn severity(grade: Grade) -> Severity {
    match grade {
        Grade::Good => Severity::Info,
        Grade::Degraded => Severity::Warning,
        Grade::Suspicious | Grade::Diverged | Grade::Bad => Severity::Error,
    }
}

/// An alarm for a set whose grade was lowered after it was stored here: a comparison of the members arrived later.
pub fn lowered(report: &SetReport) -> Option<Event> {
    let suspicious = report.grade == Some(Grade::Suspicious);
    diverged(report).or_else(|| suspicious.then(|| alarm(report, Kind::SetSuspicious, "is suspicious")))
}

/// An alarm if the set is of an etcd member that has diverged from the others.
pub fn diverged(report: &SetReport) -> Option<Event> {
    let diverged = report.grade == Some(Grade::Diverged);
    diverged.then(|| alarm(report, Kind::MembersDisagree, "has DIVERGED"))
}

fn alarm(report: &SetReport, kind: Kind, what: &str) -> Event {
    let SetReport { set, grade, sha256, reason, .. } = report;
    Event {
        peer: Some(set.host.clone()),
        role: Some(set.role),
        path: Some(set.to_string()),
        sha256: *sha256,
        outcome: grade.map(Grade::as_str),
        reason: reason.clone(),
        ..Event::error(kind, format!("{set} {what}: {}", reason.as_deref().unwrap_or_default()))
    }
}

/// The result of a drill, on this or another host.
pub fn proof(ctx: &StageContext, report: &ProofReport) -> Event {
    let ProofReport { set, by, verdict, copy, reason, took_ms, .. } = report;
    let (kind, severity) = match verdict {
        DrillVerdict::Proved => (Kind::DrillPassed, Severity::Info),
        DrillVerdict::NotRestorable => (Kind::DrillFailed, Severity::Error),
        DrillVerdict::NotProved => (Kind::NotProved, Severity::Warning),
    };
    let why = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let message = match verdict {
        DrillVerdict::Proved => format!(
            "{set} proved by {by} in {}: {copy} was restored and accepted a write",
            units::seconds(*took_ms)
        ),
        _ => format!("{set} {verdict} by {by}, from {copy}{why}"),
    };
    Event {
        role: Some(set.role),
        peer: (*by != ctx.settings.this).then(|| by.clone()),
        path: Some(set.to_string()),
        duration_ms: Some(*took_ms),
        outcome: Some(verdict.as_str()),
        reason: reason.as_ref().map(ToString::to_string),
        ..Event::new(kind, severity, message)
    }
}

/// What was found of a set's encrypted values; nothing if there are none.
fn secrets_of(set: &SetId, report: &SecretsReport) -> Option<Event> {
    let message = format!("{set}: encrypted values: {}", report.summary()?);
    let reason = report.problem();
    let severity = if reason.is_some() { Severity::Error } else { Severity::Info };
    Some(Event {
        role: Some(set.role),
        path: Some(set.to_string()),
        outcome: Some(if reason.is_some() { "failed" } else { "verified" }),
        reason,
        ..Event::new(Kind::SecretsChecked, severity, message)
    })
}

#[cfg(test)]
mod tests;
