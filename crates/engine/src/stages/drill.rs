//! `drill`: a stored snapshot restored into a scratch etcd, and proved to work. One host does it, each master waits for
//! its proof.

mod await_proof;
mod prove;
mod told;

use nightshift_core::role::Role;

pub(super) use told::event;

use crate::context::{StageContext, StageEnd, chain};

pub async fn run(ctx: StageContext) -> StageEnd {
    let settings = &ctx.settings;
    let Some(prover) = settings.drill.prover(ctx.night) else { return StageEnd::done() };
    if settings.inventory.with_role(Role::Etcd).next().is_none() {
        return StageEnd::done();
    }
    if *prover == settings.this {
        return prove::run(&ctx).await.unwrap_or_else(|error| StageEnd::failed(chain(&error)));
    }
    if !settings.roles().has(Role::Master) {
        return StageEnd::done();
    }
    match settings.inventory.get(prover).filter(|host| host.expected) {
        Some(host) => await_proof::run(&ctx, host).await,
        None => StageEnd::degraded(format!("tonight it was the turn of {prover}, which is not expected")),
    }
}
