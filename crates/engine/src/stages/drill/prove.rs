//! This host's turn: tonight's best etcd set in this vault is drilled, and the result is published as a proof.

use std::cmp::Reverse;

use jiff::Timestamp;
use nightshift_core::backoff;
use nightshift_core::chain;
use nightshift_core::manifest::Manifest;
use nightshift_core::outcome::Grade;
use nightshift_core::proof::{DrillReport, DrillVerdict, Proof};
use nightshift_core::record::ProofReport;
use nightshift_core::role::Role;
use nightshift_store::{Judged, StoreError};

use crate::context::{StageContext, StageEnd};
use crate::drill::job::{Job, Subject};
use crate::drill::master_keys;
use crate::drill::message::WorkerMessage;
use crate::drill::perform::perform;
use crate::drill::set_copy::SetCopy;
use crate::stages::proofs;

/// Sets that are drilled at most, if the ones before them do not restore.
const MAX_DRILLED: usize = 3;
/// The steps of a drill of a snapshot, for the progress in `status`.
const STEPS: usize = 6;

pub async fn run(ctx: &StageContext) -> Result<StageEnd, StoreError> {
    let candidates = ctx.offload(candidates).await?;
    if candidates.is_empty() {
        let reason = "this host has no etcd set of tonight that can be restored";
        return Ok(StageEnd::degraded(format!("not proved: {reason}")));
    }
    let mut unfit = Vec::new();
    for manifest in candidates.into_iter().take(MAX_DRILLED) {
        let set = manifest.id();
        let report = match earlier(ctx, &manifest).await? {
            Some(report) => report,
            None => drill(ctx, &manifest).await?,
        };
        proofs::report_once(ctx, report.clone()).await?;
        let reason = report.reason.unwrap_or_default();
        match report.verdict {
            DrillVerdict::Proved if unfit.is_empty() => return Ok(StageEnd::done()),
            DrillVerdict::Proved => break,
            DrillVerdict::NotRestorable => unfit.push(format!("{set} does not restore: {reason}")),
            DrillVerdict::NotProved => {
                unfit.push(format!("verified, not proved: {reason}"));
                break;
            }
        }
    }
    Ok(StageEnd::degraded(unfit.join("; ")))
}

/// Tonight's sets, best first; among equals, pulled ones first, and each night another one. Diverged sets count too: if no
/// set is good because the members differ, a drill shows which ones restore.
fn candidates(ctx: &StageContext) -> Result<Vec<Manifest>, StoreError> {
    let mut found = Vec::new();
    for host in ctx.settings.inventory.with_role(Role::Etcd) {
        let best = ctx.vault.best(&host.name, ctx.night, Role::Etcd);
        found.extend(best.filter(|set| set.grade != Grade::Bad && SetCopy::of(&set.manifest).is_some()));
    }
    let night = ctx.night.to_string();
    found.sort_by_key(|Judged { manifest, grade, .. }| {
        let own = manifest.host == ctx.settings.this;
        // A drill of a set with v2 keys proves more than one without.
        let data = manifest.etcd.as_ref().and_then(|facts| facts.data.as_ref());
        let v2_missing = !data.is_some_and(|data| data.cold_copy.is_some() || data.v2_backup.is_some());
        (Reverse(*grade), v2_missing, own, backoff::order(&night, manifest.host.as_str()))
    });
    Ok(found.into_iter().map(|judged| judged.manifest).collect())
}

/// Opens a set's copy; the error is why it cannot be drilled.
fn open(ctx: &StageContext, manifest: &Manifest, copy: String) -> Result<Subject, String> {
    let stored = SetCopy::of(manifest).ok_or("it contains nothing that can be restored")?;
    let opened = stored
        .open(&ctx.vault.directory(&manifest.id()), &ctx.settings.paths.scratch())
        .map_err(|error| chain(&error))?;
    let keys = master_keys::of_night(&ctx.settings, &ctx.vault, manifest.night);
    Ok(Subject::of_set(copy, opened, manifest, Job::facts_of(&ctx.vault, manifest)).with_keys(keys))
}

/// This host's proof of a set from before the daemon stopped. A failed drill is repeated.
async fn earlier(ctx: &StageContext, manifest: &Manifest) -> Result<Option<ProofReport>, StoreError> {
    let set = manifest.id();
    let proofs = ctx.offload(move |ctx| ctx.vault.proofs(&set)).await;
    Ok(proofs
        .iter()
        .filter(|proof| proof.by == ctx.settings.this)
        .rev()
        .filter(|proof| proof.is_proved())
        .find_map(ProofReport::of))
}

/// Drills one set. A result becomes a proof only if it is about the copy, not about this host.
async fn drill(ctx: &StageContext, manifest: &Manifest) -> Result<ProofReport, StoreError> {
    // An interrupted drill starts from the beginning.
    let _work = ctx.stop.work().await;
    let settings = &ctx.settings;
    let set = manifest.id();
    let copy = format!("the vault of {}", settings.this);
    let (of, as_text) = (manifest.clone(), copy.clone());
    let report = match ctx.offload(move |ctx| open(ctx, &of, as_text)).await {
        Ok(subject) => {
            ctx.board.begin(ctx.stage, STEPS);
            let on_message = |message: &WorkerMessage| {
                if matches!(message, WorkerMessage::Done(_)) {
                    ctx.board.advance(ctx.stage);
                }
            };
            perform(settings, subject, on_message).await
        }
        Err(reason) => DrillReport::not_proved(copy, reason),
    };
    let (cluster, by) = (settings.cluster.clone(), settings.this.clone());
    let reported = ProofReport::of_drill(&set, &by, &report);
    if report.verdict != DrillVerdict::NotProved {
        ctx.offload(move |ctx| {
            let manifest = ctx.vault.manifest_digest(&set)?;
            let proof = Proof::of_drill(cluster, set, manifest, by, Timestamp::now(), report);
            ctx.vault.put_proof(&proofs::signed(&ctx.settings, &ctx.audit, proof)?)
        })
        .await?;
    }
    Ok(reported)
}
