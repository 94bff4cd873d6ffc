//! One set from a peer: fetched, then reported to the record and the journal.

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::manifest::Manifest;
use nightshift_core::record::{Fate, SetReport, Step};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_peers::{Credentials, FetchError, Fetched, PeerVault, Space, Trust};
use nightshift_store::StoreError;

use crate::context::StageContext;
use crate::stages::{free_space, proofs, stored_sets};

/// Fetches a set and reports it. A refusal is reported too; the peer's other sets may still be good.
pub async fn fetch(
    ctx: &StageContext,
    peer: &PeerVault,
    credentials: &Credentials,
    set: &SetId,
) -> Result<(), FetchError> {
    let settings = &ctx.settings;
    let trust = Trust {
        cluster: &settings.cluster,
        inventory: &settings.inventory,
        known_hosts: &credentials.known_hosts,
    };
    let space = Space { min_free: settings.vault.min_free, max_size: settings.vault.max_set_size(set.role) };
    let fetch = || nightshift_peers::fetch(peer, set, &trust, &ctx.vault, space);
    let mut fetched = fetch().await;
    if matches!(fetched, Err(FetchError::Space(..))) && ctx.offload(free_space::remove_or_report).await > 0 {
        fetched = fetch().await;
    }
    match fetched {
        Ok(fetched) => Ok(report_stored(ctx, peer, set, fetched).await?),
        Err(error) => {
            if error.is_refusal() {
                report_refused(ctx, peer, set, &error).await?;
            }
            Err(error)
        }
    }
}

async fn report_stored(
    ctx: &StageContext,
    peer: &PeerVault,
    set: &SetId,
    fetched: Fetched,
) -> Result<(), StoreError> {
    let (grade, reason) = match &fetched.manifest {
        Some(manifest) => {
            log_other_machine(ctx, fetched.previous_machine, manifest);
            let of = set.clone();
            let judged = ctx.offload(move |ctx| proofs::accept_restored(ctx, &of)).await?;
            (Some(judged.grade), judged.reason())
        }
        None => {
            let reason = format!("newer: upgrade masters first (its manifest has format {})", fetched.format);
            (None, Some(reason))
        }
    };
    ctx.report(Step::Set(SetReport {
        set: set.clone(),
        fate: if ctx.is_late() { Fate::Late } else { Fate::Pulled },
        grade,
        from: (*peer.host() != set.host).then(|| peer.host().clone()),
        bytes: fetched.bytes,
        sha256: Some(fetched.sha256),
        reason,
        verified: fetched.verified,
    }))
    .await?;
    // It may show that a member whose set is stored here already has diverged.
    if set.role == Role::Etcd {
        stored_sets::update_grades(ctx).await?;
    }
    Ok(())
}

async fn report_refused(
    ctx: &StageContext,
    peer: &PeerVault,
    set: &SetId,
    error: &FetchError,
) -> Result<(), StoreError> {
    ctx.report(Step::Set(SetReport {
        set: set.clone(),
        fate: Fate::Refused,
        grade: None,
        from: Some(peer.host().clone()),
        bytes: 0,
        sha256: None,
        reason: Some(chain(error)),
        verified: None,
    }))
    .await
}

/// A new machine-id under a known host name: the host was reinstalled, or another one uses its name.
fn log_other_machine(ctx: &StageContext, before: Option<String>, manifest: &Manifest) {
    let (Some(before), Some(now)) = (before, &manifest.machine.machine_id) else { return };
    if before != *now {
        let what = format!("{}: its machine-id changed", manifest.host);
        let reason = format!("it was {before} and is {now}; was the host reinstalled or replaced?");
        ctx.log(Event {
            peer: Some(manifest.host.clone()),
            role: Some(manifest.role),
            ..Event::degraded(Kind::PeerOdd, what, reason)
        });
    }
}
