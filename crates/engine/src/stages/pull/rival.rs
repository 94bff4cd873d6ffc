//! Two manifests for one set: its maker has another than this vault took of it earlier.
//!
//! Neither is replaced: ours stays here and theirs stays there. Which one is right is for a person to say.

use nightshift_core::audit::{Event, Kind};
use nightshift_core::digest::Digest;
use nightshift_core::outcome::Grade;
use nightshift_core::record::{Fate, SetReport, Step};
use nightshift_core::set_path::SetId;

use super::fetch::Source;
use super::peer_sets::manifest_at;
use super::verdict::PullError;
use crate::context::StageContext;
use nightshift_store::offload;

/// Whether the maker of a set that is held here shows another manifest under its name. If so, that is recorded and
/// told, once a night.
pub async fn find(ctx: &StageContext, source: Source<'_>, set: &SetId) -> Result<bool, PullError> {
    let Some(theirs) = manifest_at(source, set).await? else { return Ok(false) };
    let (vault, held) = (ctx.vault.clone(), set.clone());
    let ours = offload::run(move || vault.manifest_digest(&held)).await?;
    if ours != theirs {
        tell(ctx, set, ours, theirs).await?;
    }
    Ok(ours != theirs)
}

async fn tell(ctx: &StageContext, set: &SetId, ours: Digest, theirs: Digest) -> Result<(), PullError> {
    let is_told = |report: &SetReport| report.set == *set && report.grade == Some(Grade::Diverged);
    if ctx.record.look(|record| record.is_some_and(|record| record.sets.iter().any(is_told))) {
        return Ok(());
    }
    let reason = format!(
        "its manifest there has SHA-256 {theirs}, and the one taken earlier tonight has {ours}: both are kept where \
         they lie. Was the host reinstalled, or does another bear its name?"
    );
    ctx.note(Step::Set(SetReport {
        set: set.clone(),
        fate: Fate::Pulled,
        grade: Some(Grade::Diverged),
        from: None,
        bytes: 0,
        sha256: Some(ours),
        reason: Some(reason.clone()),
    }))
    .await?;
    ctx.tell(Event {
        peer: Some(set.host.clone()),
        role: Some(set.role),
        sha256: Some(theirs),
        outcome: Some(Grade::Diverged.as_str()),
        reason: Some(reason.clone()),
        ..Event::error(Kind::SetRefused, format!("{set} has diverged: {reason}"))
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::role::Role;
    use nightshift_core::stage::Stage;

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn a_set_that_diverged_is_told_once_and_is_no_good_copy() {
        let dir = tempfile::tempdir().unwrap();
        let settings = testing::settings(dir.path(), vec![testing::host("m1", Role::Master)]);
        let ctx = testing::context(settings, "2026-11-22", Stage::PullNodes);
        let set: SetId = "n1/2026-11-22/node".parse().unwrap();
        for _ in 0..2 {
            tell(&ctx, &set, Digest::of(b"ours"), Digest::of(b"theirs")).await.unwrap();
        }
        let record = ctx.record.record().unwrap();
        assert_eq!(record.sets.len(), 1);
        assert!(!record.sets[0].grade.unwrap().is_copy());
        assert!(record.sets[0].reason.as_ref().unwrap().contains("reinstalled"));
    }
}
