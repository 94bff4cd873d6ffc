//! Sets that are stored in this vault, and what tonight's record says of them.

use jiff::Timestamp;
use nightshift_core::manifest::Manifest;
use nightshift_core::outcome::Grade;
use nightshift_core::record::{Fate, SetReport, Step};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::signed::Signed;
use nightshift_store::records::RecordLog;
use nightshift_store::verify::{Hashed, verify_set};
use nightshift_store::{Judge, Judged, StoreError, Vault};

use crate::context::StageContext;
use crate::report;

/// Tonight's etcd sets in this vault.
pub async fn etcd_sets(ctx: &StageContext) -> Result<Vec<SetId>, StoreError> {
    ctx.offload(|StageContext { settings, vault, night, .. }| {
        let mut stored = vault.sets_of_night(*night)?;
        stored.retain(|set| {
            let host = settings.inventory.get(&set.host);
            set.role == Role::Etcd && host.is_some_and(|host| host.roles.has(Role::Etcd))
        });
        Ok(stored)
    })
    .await
}

/// Reports a stored set that the record lacks, because this host crashed after it stored the set and before it recorded
/// it. Without this, the night would report the set as missing.
pub async fn ensure_recorded(ctx: &StageContext, stored: &Judged, fate: Fate) -> Result<(), StoreError> {
    let set = stored.manifest.id();
    let is_recorded = |report: &SetReport| report.set == set && report.fate.is_stored();
    if ctx.record.look(|record| record.is_some_and(|record| record.sets.iter().any(is_recorded))) {
        return Ok(());
    }
    let id = set.clone();
    // Whether it was verified before the crash is unknown.
    let (digest, verified) = ctx
        .offload(move |ctx| {
            let signature = |_: &Manifest, _: &[u8], _: Option<&str>| Signed::Unsigned;
            let cluster = &ctx.settings.cluster;
            let verified = verify_set(cluster, &ctx.vault, &id, &signature, &mut Hashed::new())?;
            let digest = ctx.vault.manifest_digest(&id)?;
            let is_verified = verified.findings.is_empty() && verified.unchecked.is_empty();
            Ok::<_, StoreError>((digest, is_verified.then(Timestamp::now)))
        })
        .await?;
    ctx.report(Step::Set(SetReport {
        set,
        fate,
        grade: Some(stored.grade),
        from: None,
        bytes: stored.manifest.total_bytes(),
        sha256: Some(digest),
        reason: stored.reason(),
        verified: verified.filter(|_| stored.grade > Grade::Bad),
    }))
    .await
}

/// Updates the recorded grades: a manifest that arrived later may show that an etcd member has diverged.
pub async fn update_grades(ctx: &StageContext) -> Result<(), StoreError> {
    for report in ctx.offload(|ctx| changed_grades(&ctx.vault, &ctx.record)).await {
        let lowered = report::lowered(&report);
        ctx.report_as(Step::Set(report), lowered).await?;
    }
    Ok(())
}

/// The reports of stored sets whose grade differs from the recorded one.
pub fn changed_grades(vault: &Vault, record: &RecordLog) -> Vec<SetReport> {
    let mut judge = Judge::new(vault);
    let stored = record.record().map(|record| record.sets).unwrap_or_default().into_iter();
    stored
        .filter(|report| report.fate.is_stored())
        .filter_map(|report| {
            // A set that cannot be judged here keeps its recorded grade.
            let (before, judged) = (report.grade?, judge.judge(&report.set).ok()?);
            // A rival manifest may have lowered the grade too, so only an acceptance raises it.
            let changed = judged.grade < before || (judged.accepted && judged.grade > before);
            changed.then(|| SetReport { grade: Some(judged.grade), reason: judged.reason(), ..report })
        })
        .collect()
}
