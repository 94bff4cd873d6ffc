//! `drill`: a stored snapshot is restored into a scratch etcd and tested. One host does it; each master waits for its proof,
//! checks whether the night's secrets decrypt, which other masters have the night's snapshots, and whether the night is restorable.

mod await_proof;
mod elsewhere;
mod prove;
mod restorable;
mod secrets;

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::name::HostName;
use nightshift_core::role::Role;
use nightshift_store::StoreError;

use super::error::StageError;
use crate::context::{StageContext, StageEnd};

pub async fn run(ctx: &StageContext) -> Result<StageEnd, StageError> {
    let end = prove_or_wait(ctx).await;
    if !ctx.settings.roles().has(Role::Master) {
        return end;
    }
    if let Err(error) = elsewhere::check(ctx).await {
        let what = "cannot check which masters have tonight's etcd sets";
        ctx.log(Event::degraded(Kind::OperationFailed, what, chain(&error)));
    }
    let end = secrets::judge(ctx, end?).await?;
    restorable::check(ctx).await?;
    Ok(end)
}

async fn prove_or_wait(ctx: &StageContext) -> Result<StageEnd, StageError> {
    let settings = &ctx.settings;
    let Some(prover) = prover(ctx).await? else { return Ok(StageEnd::done()) };
    if prover == settings.this {
        return Ok(prove::run(ctx).await?);
    }
    if !settings.roles().has(Role::Master) {
        return Ok(StageEnd::done());
    }
    match settings.inventory.get(&prover).filter(|host| host.expected) {
        Some(host) => await_proof::run(ctx, host).await,
        None => {
            let reason = format!("tonight is the turn of {prover}, which has `expected = false`");
            Ok(StageEnd::degraded(reason))
        }
    }
}

/// Whose turn it is tonight; `None` if there is nothing to prove. With `members = "one"`, a host that has no etcd set cannot
/// drill one: then the set's origin host does it.
async fn prover(ctx: &StageContext) -> Result<Option<HostName>, StoreError> {
    let settings = &ctx.settings;
    if settings.inventory.with_role(Role::Etcd).next().is_none() {
        return Ok(None);
    }
    let Some(turn) = settings.drill.prover(ctx.night).cloned() else { return Ok(None) };
    if settings.has_etcd_set(&turn) {
        return Ok(Some(turn));
    }
    ctx.offload(|StageContext { settings, vault, night, .. }| {
        for host in settings.inventory.with_role(Role::Etcd) {
            if vault.best(&host.name, *night, Role::Etcd).is_some_and(|best| best.grade.is_copy()) {
                return Ok(Some(host.name.clone()));
            }
        }
        Ok(settings.roles().has(Role::Master).then_some(turn))
    })
    .await
}
