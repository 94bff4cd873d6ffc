//! What is in the vault and not in the record: a crash came between the two.

use nightshift_core::audit::{Event, Kind};
use nightshift_core::outcome::Grade;
use nightshift_core::record::{Fate, SetReport, Step};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;

use crate::context::StageContext;
use nightshift_store::offload;
use nightshift_store::records::RecordLog;
use nightshift_store::{Judge, Judged, StoreError, Vault};

/// Records a set that is held, unless its record knows it as that. Without it, the night would call it missing.
pub async fn make_known(ctx: &StageContext, held: &Judged, fate: Fate) -> Result<(), StoreError> {
    let set = held.manifest.id();
    let is_known = |report: &SetReport| report.set == set && report.fate.is_stored();
    if ctx.record.look(|record| record.is_some_and(|record| record.sets.iter().any(is_known))) {
        return Ok(());
    }
    let (vault, id) = (ctx.vault.clone(), set.clone());
    let digest = offload::run(move || vault.manifest_digest(&id)).await?;
    ctx.note(Step::Set(SetReport {
        set,
        fate,
        grade: Some(held.grade),
        from: None,
        bytes: held.manifest.total_bytes(),
        sha256: Some(digest),
        reason: held.reason(),
    }))
    .await
}

/// Tonight's etcd sets in this vault.
pub async fn etcd_sets(ctx: &StageContext) -> Result<Vec<SetId>, StoreError> {
    let (settings, vault, night) = (ctx.settings.clone(), ctx.vault.clone(), ctx.night);
    offload::run(move || {
        let mut held = Vec::new();
        for host in settings.inventory.with_role(Role::Etcd) {
            held.extend(vault.sets_of(&host.name, night)?.into_iter().filter(|set| set.role == Role::Etcd));
        }
        Ok(held)
    })
    .await
}

/// Puts right what the record says of etcd sets, for a manifest that came later may tell that a member's set has
/// diverged. Each is told once.
pub async fn judge_again(ctx: &StageContext) -> Result<(), StoreError> {
    let (vault, record) = (ctx.vault.clone(), ctx.record.clone());
    for report in offload::run(move || rejudge(&vault, &record)).await? {
        if report.grade == Some(Grade::Diverged) {
            tell_diverged(ctx, &report);
        }
    }
    Ok(())
}

/// Says loudly that a set was taken of a member that holds something else than the others.
pub fn tell_diverged(ctx: &StageContext, report: &SetReport) {
    let reason = report.reason.clone().unwrap_or_default();
    ctx.tell(Event {
        peer: Some(report.set.host.clone()),
        role: Some(report.set.role),
        path: Some(report.set.to_string()),
        sha256: report.sha256,
        outcome: Some(Grade::Diverged.as_str()),
        reason: Some(reason.clone()),
        ..Event::error(Kind::MembersDisagree, format!("{} has diverged: {reason}", report.set))
    });
}

/// Records the grades that are no longer what the record has; returns those reports.
pub fn rejudge(vault: &Vault, record: &RecordLog) -> Result<Vec<SetReport>, StoreError> {
    let Some(known) = record.record() else { return Ok(Vec::new()) };
    let mut judge = Judge::new(vault);
    let mut changed = Vec::new();
    for report in known.sets.into_iter().filter(|report| report.fate.is_stored()) {
        // What this vault does not hold, or cannot read, was judged by whoever recorded it.
        let (Some(before), Ok(judged)) = (report.grade, judge.judge(&report.set)) else { continue };
        // A rival manifest may have lowered it as well: only a person raises it.
        if judged.grade < before || (judged.accepted && judged.grade > before) {
            let report = SetReport { grade: Some(judged.grade), reason: judged.reason(), ..report };
            record.note(Step::Set(report.clone()))?;
            changed.push(report);
        }
    }
    Ok(changed)
}
