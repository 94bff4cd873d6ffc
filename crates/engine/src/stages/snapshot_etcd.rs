//! `snapshot-etcd`: the local member's snapshot, streamed, checked at birth, and published with /etc/etcd.

mod agreement;
mod draft;
mod sight;
mod turn;

use std::path::Path;

use nightshift_core::chain;
use nightshift_core::etcd_facts::Agreement;
use nightshift_core::outcome::Outcome;
use nightshift_core::role::Role;
use nightshift_core::settings::Compression;

use self::sight::Sight;
use super::collect_role;
use super::etcd_data;
use super::etcd_room;
use super::own_set::{self, Begun, OwnSetError};
use crate::collect::CollectError;
use crate::context::{StageContext, StageEnd};
use nightshift_etcd as etcd;
use nightshift_etcd::{Client, Complaint, LocalMember, Taken};
use nightshift_store::offload;
use nightshift_store::space::SpaceError;
use nightshift_store::{Partial, StoreError};

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Set(#[from] OwnSetError),
    #[error(transparent)]
    Discover(#[from] etcd::DiscoverError),
    #[error("the etcd member cannot be asked")]
    Client(#[from] etcd::ClientError),
    #[error(transparent)]
    Snapshot(#[from] etcd::SnapshotError),
    #[error(transparent)]
    Collect(#[from] CollectError),
    #[error("not enough room for a snapshot")]
    Space(#[from] SpaceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    NotOwn(Complaint),
}

pub async fn run(ctx: StageContext) -> StageEnd {
    match try_run(&ctx).await {
        Ok(end) => end,
        Err(error @ (Error::NotOwn(_) | Error::Discover(_))) => StageEnd::broken(chain(&error)),
        Err(error) => StageEnd::failed(chain(&error)),
    }
}

async fn try_run(ctx: &StageContext) -> Result<StageEnd, Error> {
    if own_set::is_published(ctx, &ctx.settings.this, Role::Etcd).await? {
        return Ok(StageEnd::done());
    }
    let settings = ctx.settings.etcd.clone();
    let local = offload::run(move || etcd::discover(&settings, Path::new("/"))).await?;
    let mut sight = Sight::of(&local).await?;
    if turn::wait(ctx, &sight).await {
        // Minutes have passed.
        sight = Sight::of(&local).await?;
    }
    if let Some(reason) = turn::left_to_another(ctx, &sight).await? {
        tracing::info!("no snapshot of this member tonight: {reason}");
        return Ok(StageEnd { reason: Some(reason), ..StageEnd::done() });
    }
    sight.report(ctx);
    let agreement = agreement::ask(ctx, &sight).await;
    let end = one_set(ctx, &local, &sight, agreement.clone()).await?;
    if end.outcome != Outcome::Failed {
        return Ok(end);
    }
    // It was damaged on its way, or the member itself is: a second one tells, and a third would tell no more.
    let end = one_set(ctx, &local, &sight, agreement).await?;
    Ok(if end.outcome == Outcome::Failed { StageEnd { retry: false, ..end } } else { end })
}

/// One attempt at tonight's set: the snapshot, and the files beside it.
async fn one_set(
    ctx: &StageContext,
    local: &LocalMember,
    sight: &Sight,
    agreement: Option<Agreement>,
) -> Result<StageEnd, Error> {
    let Some(Begun { partial, previous }) = own_set::begin(ctx, &ctx.settings.this, Role::Etcd).await? else {
        return Ok(StageEnd::done());
    };
    etcd_room::demand(ctx, local, &sight.member, ctx.vault.root(), sight.member.db_size)?;
    let (name, taken) = take(ctx, &sight.client, &partial).await?;
    let (partial, mut draft) = collect_role::files(ctx, Role::Etcd, partial, previous).await?;
    draft::complete(&mut draft, name, sight, taken, agreement);
    draft::doubt(ctx, &mut draft).await?;
    // For a set that is no copy anyway no member is stopped.
    if draft.bad.is_empty() {
        etcd_data::add(ctx, &sight.client, local, &sight.member, &partial, &mut draft).await;
    }
    Ok(own_set::publish(ctx, partial, draft).await?)
}

async fn take(
    ctx: &StageContext,
    client: &Client,
    partial: &Partial,
) -> Result<(&'static str, Taken), Error> {
    let settings = &ctx.settings.etcd;
    let name = match settings.compression {
        Compression::Gzip => "snapshot.db.gz",
        Compression::Zstd => "snapshot.db.zst",
    };
    let file = partial.create(name)?;
    let limits = etcd::Limits { stall: settings.stall, deadline: settings.deadline };
    let taken = etcd::take(client, file, settings.compression, limits, |_, _| {}).await?;
    Ok((name, taken))
}

#[cfg(test)]
mod tests;
