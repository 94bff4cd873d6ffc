//! Two manifests of one set: its origin host now has another than the one that was pulled earlier.
//!
//! Neither is replaced: each stays where it is, until an operator decides which one is right.

use nightshift_core::audit::{Event, Kind};
use nightshift_core::digest::Digest;
use nightshift_core::outcome::Grade;
use nightshift_core::record::{Fate, SetReport, Step};
use nightshift_core::set_path::SetId;
use nightshift_peers::PeerVault;
use nightshift_store::StoreError;

use crate::context::StageContext;
use crate::stages::error::StageError;

/// Whether the origin host of a stored set has another manifest of it. If so, it is reported once a night.
pub async fn find(ctx: &StageContext, peer: &PeerVault, set: &SetId) -> Result<bool, StageError> {
    let Some(theirs) = peer.manifest_digest(set).await? else { return Ok(false) };
    let stored = set.clone();
    let ours = ctx.offload(move |ctx| ctx.vault.manifest_digest(&stored)).await?;
    if ours != theirs {
        report(ctx, set, ours, theirs).await?;
    }
    Ok(ours != theirs)
}

async fn report(ctx: &StageContext, set: &SetId, ours: Digest, theirs: Digest) -> Result<(), StoreError> {
    let is_known = |report: &SetReport| report.set == *set && report.grade == Some(Grade::Diverged);
    if ctx.record.look(|record| record.is_some_and(|record| record.sets.iter().any(is_known))) {
        return Ok(());
    }
    let reason = format!(
        "its manifest has SHA-256 {theirs} on its origin host, but {ours} here; both are kept. Was the host reinstalled, or is \
         another host using its name?"
    );
    let event = Event {
        peer: Some(set.host.clone()),
        role: Some(set.role),
        sha256: Some(theirs),
        outcome: Some(Grade::Diverged.as_str()),
        ..Event::failed(Kind::SetRefused, format!("{set} has diverged"), &*reason)
    };
    let step = Step::Set(SetReport {
        set: set.clone(),
        fate: Fate::Pulled,
        grade: Some(Grade::Diverged),
        from: None,
        bytes: 0,
        sha256: Some(ours),
        reason: Some(reason),
        verified: None,
    });
    ctx.report_as(step, [event]).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::role::Role;
    use nightshift_core::stage::Stage;

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn a_rival_manifest_is_reported_once_and_its_set_is_not_a_good_copy() {
        let dir = tempfile::tempdir().unwrap();
        let settings = testing::settings(dir.path(), vec![testing::host("m1", Role::Master)]);
        let ctx = testing::context(settings, "2026-11-22", Stage::PullNodes);
        let set: SetId = "n1/2026-11-22/node".parse().unwrap();
        for _ in 0..2 {
            report(&ctx, &set, Digest::of(b"ours"), Digest::of(b"theirs")).await.unwrap();
        }
        let record = ctx.record.record().unwrap();
        assert_eq!(record.sets.len(), 1);
        assert!(!record.sets[0].grade.unwrap().is_copy());
        assert!(record.sets[0].reason.as_ref().unwrap().contains("reinstalled"));
    }
}
