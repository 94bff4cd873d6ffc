//! Proofs: signed by this host, or from another host's vault, of which only those count that it issued itself, and only for
//! sets that are stored here.

use std::collections::BTreeSet;
use std::io;

use jiff::Timestamp;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::proof::{FORMAT, MAX_PER_HOST, NAMESPACE, Proof, Statement, StoredProof};
use nightshift_core::record::{ProofReport, Step};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_peers::{PeerProofError, PeerVault};
use nightshift_ssh::Signer;
use nightshift_store::{IoContext as _, Judge, Judged, StoreError, Vault};

use crate::audit::Audit;
use crate::context::StageContext;
use crate::report;
use crate::stages::error::StageError;
use crate::stages::stored_sets;

/// The newest sets that are checked for an acceptance.
const MAX_SETS: usize = 20;
/// For so many nights a proof that is late is still looked for.
const MAX_NIGHTS_LATE: usize = 7;

/// What a proof states. A peer's proofs are read for one of these, and others of it are not stored by the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Drills,
    Acceptances,
}

impl Wanted {
    fn includes(self, proof: &Proof) -> bool {
        match self {
            Self::Drills => proof.drill().is_some(),
            Self::Acceptances => proof.is_accepted(),
        }
    }
}

/// Copies the proofs of a set that the peer issued and that are not here yet.
pub async fn copy(
    ctx: &StageContext,
    peer: &PeerVault,
    set: &SetId,
    wanted: Wanted,
) -> Result<(), StageError> {
    let mut names = peer.proofs(set).await?;
    let of = set.clone();
    let mut stored = ctx.offload(move |ctx| ctx.vault.proof_names(&of)).await?;
    let stored = stored.remove(peer.host()).unwrap_or_default();
    names.retain(|name| !stored.contains(name));
    // A host that issues more fills neither the vault nor the night.
    let new = names.iter().rev().take(MAX_PER_HOST.saturating_sub(stored.len()));
    if names.is_empty() {
        return Ok(());
    }
    let of = set.clone();
    let manifest = ctx.offload(move |ctx| ctx.vault.manifest_digest(&of)).await?;
    for name in new {
        match peer.proof(set, name, manifest).await {
            Ok(stored) if wanted.includes(&stored.proof) => {
                ctx.offload(move |ctx| ctx.vault.put_proof(&stored)).await?;
            }
            Ok(_) => {}
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

/// Judges a set. Of the night that proves a restore, one that awaits an acceptance is accepted: the plan is the reason. Blocks.
pub fn accept_restored(ctx: &StageContext, set: &SetId) -> Result<Judged, StoreError> {
    let judged = ctx.vault.judge(set)?;
    let Some(plan) = ctx.restored_by().filter(|_| judged.awaits && set.night == ctx.night) else {
        return Ok(judged);
    };
    put_acceptance(&ctx.settings, &ctx.audit, set.clone(), format!("restore plan {plan}"))?;
    ctx.vault.judge(set)
}

/// Stores that a set counts as good. Blocks.
pub fn put_acceptance(settings: &Settings, audit: &Audit, set: SetId, who: String) -> Result<(), StoreError> {
    let vault = Vault::of(settings);
    let proof = Proof {
        format: FORMAT,
        cluster: settings.cluster.clone(),
        manifest: vault.manifest_digest(&set)?,
        set,
        by: settings.this.clone(),
        at: Timestamp::now(),
        with: env!("CARGO_PKG_VERSION").into(),
        statement: Statement::Accepted { who: who.into() },
    };
    vault.put_proof(&signed(settings, audit, proof)?)
}

/// Signs a proof with this host's key. Without the key it is published unsigned, and logged.
pub fn signed(settings: &Settings, audit: &Audit, proof: Proof) -> Result<StoredProof, StoreError> {
    let set = proof.set.clone();
    let stored = StoredProof::new(proof, |bytes| {
        let signer = Signer::from_host_key(&settings.ssh.host_key).map_err(StageError::from);
        let signature = signer.and_then(|signer| Ok(signer.sign(NAMESPACE, bytes)?));
        let unsigned = signature.inspect_err(|error| {
            let what = format!("the proof of {set} is not signed");
            audit.emit(&Event {
                role: Some(set.role),
                path: Some(set.to_string()),
                ..Event::degraded(Kind::OperationFailed, what, chain(error))
            });
        });
        unsigned.ok()
    });
    stored.map_err(io::Error::from).on("encode", &set.proofs())
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
    for set in ctx.offload(move |ctx| unproved(ctx, &prover)).await {
        copy(ctx, peer, &set, Wanted::Drills).await?;
        let proofs = ctx.offload(move |ctx| ctx.vault.proofs(&set)).await;
        for report in proofs.iter().filter(|proof| proof.by == *peer.host()).filter_map(ProofReport::of) {
            // The record of its night is closed, so only the journal gets it.
            ctx.log(report::proof(ctx, &report));
        }
    }
    Ok(())
}

/// Copies acceptances of etcd sets that await one here: an operator may have accepted them on the peer. A master's counts for
/// every set, that of another host only for its own sets.
pub async fn copy_accepted(ctx: &StageContext, peer: &PeerVault) -> Result<(), StageError> {
    let is_master = ctx.settings.inventory.has(peer.host(), Role::Master);
    let mut awaiting = ctx.offload(awaiting_acceptance).await;
    awaiting.retain(|set| is_master || set.host == *peer.host());
    for set in awaiting.iter().rev().take(MAX_SETS) {
        copy(ctx, peer, set, Wanted::Acceptances).await?;
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

fn awaiting_acceptance(ctx: &StageContext) -> Vec<SetId> {
    let mut judge = Judge::new(&ctx.vault);
    let hosts = ctx.settings.inventory.with_role(Role::Etcd);
    let mut sets: Vec<SetId> =
        hosts.flat_map(|host| ctx.vault.sets_of_host(&host.name, Role::Etcd)).collect();
    sets.retain(|set| judge.judge(set).is_ok_and(|judged| judged.grade.awaits_acceptance()));
    sets
}

/// The etcd sets of recent nights that the prover should have drilled, and of which it has no proof here.
fn unproved(ctx: &StageContext, prover: &HostName) -> Vec<SetId> {
    let StageContext { settings, vault, .. } = ctx;
    let mut unproved = Vec::new();
    for host in settings.inventory.with_role(Role::Etcd) {
        let mut sets = vault.sets_of_host(&host.name, Role::Etcd);
        sets.retain(|set| set.night < ctx.night);
        let nights: BTreeSet<Night> = sets.iter().map(|set| set.night).collect();
        let recent: BTreeSet<Night> = nights.into_iter().rev().take(MAX_NIGHTS_LATE).collect();
        sets.retain(|set| recent.contains(&set.night) && settings.drill.prover(set.night) == Some(prover));
        sets.retain(|set| vault.proofs(set).iter().all(|proof| proof.by != *prover));
        unproved.extend(sets);
    }
    unproved
}
