//! `drill`: a stored snapshot restored into a scratch etcd, and proved to work. One host does it, each master waits for
//! its proof, and looks on which other masters the night's snapshots lie.

mod await_proof;
mod elsewhere;
mod prove;
mod told;

use nightshift_core::chain;
use nightshift_core::name::HostName;
use nightshift_core::role::Role;

pub(super) use told::event;

use crate::context::{StageContext, StageEnd};
use nightshift_store::StoreError;
use nightshift_store::offload;

pub async fn run(ctx: StageContext) -> StageEnd {
    let end = prove_or_wait(&ctx).await;
    if ctx.settings.roles().has(Role::Master)
        && let Err(error) = elsewhere::look(&ctx).await
    {
        tracing::warn!("on which masters tonight's etcd sets lie was not seen: {}", chain(&error));
    }
    end
}

async fn prove_or_wait(ctx: &StageContext) -> StageEnd {
    let settings = &ctx.settings;
    let prover = match prover(ctx).await {
        Ok(Some(prover)) => prover,
        Ok(None) => return StageEnd::done(),
        Err(error) => return StageEnd::failed(chain(&error)),
    };
    if prover == settings.this {
        return prove::run(ctx).await.unwrap_or_else(|error| StageEnd::failed(chain(&error)));
    }
    if !settings.roles().has(Role::Master) {
        return StageEnd::done();
    }
    match settings.inventory.get(&prover).filter(|host| host.expected) {
        Some(host) => await_proof::run(ctx, host).await,
        None => StageEnd::degraded(format!("tonight it was the turn of {prover}, which is not expected")),
    }
}

/// Whose turn it is tonight; `None` where there is nothing to prove. A host without a set of its own and without those of
/// the others has nothing to restore: where one member's snapshot will do, its maker proves it.
async fn prover(ctx: &StageContext) -> Result<Option<HostName>, StoreError> {
    let settings = ctx.settings.clone();
    if settings.inventory.with_role(Role::Etcd).next().is_none() {
        return Ok(None);
    }
    let Some(turn) = settings.drill.prover(ctx.night).cloned() else { return Ok(None) };
    if settings.has_etcd_set(&turn) {
        return Ok(Some(turn));
    }
    let (vault, night) = (ctx.vault.clone(), ctx.night);
    offload::run(move || {
        for host in settings.inventory.with_role(Role::Etcd) {
            if vault.best(&host.name, night, Role::Etcd)?.is_some_and(|best| best.grade.is_copy()) {
                return Ok(Some(host.name.clone()));
            }
        }
        Ok(settings.roles().has(Role::Master).then_some(turn))
    })
    .await
}
