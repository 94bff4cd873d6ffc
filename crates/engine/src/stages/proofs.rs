//! Proofs from another host's vault: only those that it issued itself, and only for sets that are stored here.

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::name::HostName;
use nightshift_core::record::{ProofReport, Step};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_peers::{PeerProofError, PeerVault};
use nightshift_store::{Judge, StoreError};

use crate::context::StageContext;
use crate::report;
use crate::stages::error::StageError;
use crate::stages::stored_sets;

/// The newest proofs of a set that are read, and the newest sets that are checked for an acceptance.
const MAX_READ: usize = 20;
/// For so many nights a proof that is late is still looked for.
const MAX_NIGHTS_LATE: usize = 7;

/// Copies the proofs of a set that the peer issued and that are not here yet.
pub async fn copy(ctx: &StageContext, peer: &PeerVault, set: &SetId) -> Result<(), StageError> {
    let here = ctx.vault.root().join(set.proofs());
    let mut names = peer.proofs(set).await?;
    names.retain(|name| !here.join(name).exists());
    if names.is_empty() {
        return Ok(());
    }
    let of = set.clone();
    let manifest = ctx.offload(move |ctx| ctx.vault.manifest_digest(&of)).await?;
    for name in names.iter().rev().take(MAX_READ) {
        match peer.proof(set, name, manifest).await {
            Ok(proof) => ctx.offload(move |ctx| ctx.vault.put_proof(&proof)).await?,
            Err(PeerProofError::Sftp(error)) if error.is_connection() => return Err(error.into()),
            Err(error) => ctx.log(Event {
                peer: Some(peer.host().clone()),
                role: Some(set.role),
                path: Some(set.to_string()),
                ..Event::degraded(
                    Kind::OperationFailed,
                    format!("{}: cannot use its proof {name} of {set}", peer.host()),
                    chain(&error),
                )
            }),
        }
    }
    Ok(())
}

/// Reports the result of a drill, once.
pub async fn report_once(ctx: &StageContext, report: ProofReport) -> Result<(), StoreError> {
    let is_same = |known: &ProofReport| {
        (&known.set, &known.by, known.verdict) == (&report.set, &report.by, report.verdict)
    };
    if ctx.record.look(|record| record.is_some_and(|record| record.proofs.iter().any(is_same))) {
        return Ok(());
    }
    ctx.report(Step::Proved(report)).await
}

/// Copies proofs of earlier nights that the peer issued after this host stopped waiting for them.
pub async fn copy_late(ctx: &StageContext, peer: &PeerVault) -> Result<(), StageError> {
    let prover = peer.host().clone();
    for set in ctx.offload(move |ctx| unproved(ctx, &prover)).await? {
        copy(ctx, peer, &set).await?;
        let proofs = ctx.offload(move |ctx| ctx.vault.proofs(&set)).await?;
        for report in proofs.iter().filter(|proof| proof.by == *peer.host()).filter_map(ProofReport::of) {
            // The record of its night is closed, so only the journal gets it.
            ctx.log(report::proof(ctx, &report));
        }
    }
    Ok(())
}

/// Copies acceptances of etcd sets that await one here: an operator may have accepted them on the peer.
pub async fn copy_accepted(ctx: &StageContext, peer: &PeerVault) -> Result<(), StageError> {
    for set in ctx.offload(awaiting_acceptance).await?.iter().rev().take(MAX_READ) {
        copy(ctx, peer, set).await?;
        let of = set.clone();
        if ctx.offload(move |ctx| ctx.vault.judge(&of)).await?.accepted {
            ctx.log(Event {
                peer: Some(peer.host().clone()),
                role: Some(set.role),
                path: Some(set.to_string()),
                outcome: Some("accepted"),
                ..Event::info(Kind::SetAccepted, format!("{set} was accepted on {}", peer.host()))
            });
        }
    }
    Ok(stored_sets::update_grades(ctx).await?)
}

fn awaiting_acceptance(ctx: &StageContext) -> Result<Vec<SetId>, StoreError> {
    let mut judge = Judge::new(&ctx.vault);
    let mut awaiting = Vec::new();
    for host in ctx.settings.inventory.with_role(Role::Etcd) {
        for night in ctx.vault.nights_of(&host.name)? {
            let mut sets = ctx.vault.sets_of(&host.name, night)?;
            sets.retain(|set| set.role == Role::Etcd);
            sets.retain(|set| judge.judge(set).is_ok_and(|judged| judged.grade.awaits_acceptance()));
            awaiting.extend(sets);
        }
    }
    Ok(awaiting)
}

/// The etcd sets of recent nights that the prover should have drilled, and of which it has no proof here.
fn unproved(ctx: &StageContext, prover: &HostName) -> Result<Vec<SetId>, StoreError> {
    let StageContext { settings, vault, .. } = ctx;
    let mut unproved = Vec::new();
    for host in settings.inventory.with_role(Role::Etcd) {
        let earlier = vault.nights_of(&host.name)?.into_iter().rev().filter(|night| *night < ctx.night);
        let theirs = |night: &_| settings.drill.prover(*night) == Some(prover);
        for night in earlier.take(MAX_NIGHTS_LATE).filter(theirs) {
            let sets = vault.sets_of(&host.name, night)?;
            for set in sets.into_iter().filter(|set| set.role == Role::Etcd) {
                if vault.proofs(&set)?.iter().all(|proof| proof.by != *prover) {
                    unproved.push(set);
                }
            }
        }
    }
    Ok(unproved)
}
