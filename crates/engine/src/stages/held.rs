//! What is in the vault and not in the record: a crash came between the two.

use nightshift_core::manifest::Manifest;
use nightshift_core::outcome::Grade;
use nightshift_core::record::{Fate, SetReport, Step};

use crate::context::StageContext;
use crate::offload;
use crate::store::StoreError;

/// Records a set that is held, unless its record knows it as that. Without it, the night would call it missing.
pub async fn make_known(ctx: &StageContext, manifest: &Manifest, fate: Fate) -> Result<(), StoreError> {
    let set = manifest.id();
    let is_known = |report: &SetReport| report.set == set && report.fate.is_held();
    if ctx.record.look(|record| record.is_some_and(|record| record.sets.iter().any(is_known))) {
        return Ok(());
    }
    let (vault, id) = (ctx.vault.clone(), set.clone());
    let digest = offload::run(move || vault.manifest_digest(&id)).await?;
    ctx.note(Step::Set(SetReport {
        set,
        fate,
        grade: Some(manifest.grade),
        from: None,
        bytes: manifest.total_bytes(),
        sha256: Some(digest),
        reason: (manifest.grade != Grade::Good).then(|| manifest.notes.join("; ")),
    }))
    .await
}
