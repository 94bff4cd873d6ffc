//! `snapshot-etcd`: the local member's snapshot, streamed, checked while it streams, and published with /etc/etcd.

mod agreement;
mod cold_copy;
mod data;
mod draft;
mod service;
mod space;
mod tools;
mod turn;
mod v2_backup;
mod view;

use std::path::Path;

use nightshift_core::etcd_facts::Agreement;
use nightshift_core::outcome::Outcome;
use nightshift_core::role::Role;
use nightshift_core::settings::Compression;
use nightshift_etcd::client::Client;
use nightshift_etcd::discover::{LocalMember, discover};
use nightshift_etcd::snapshot::{self, Limits, Taken};
use nightshift_store::Partial;

use self::view::MemberView;
use super::collect_role;
use super::error::StageError;
use super::own_set::{self, Begin, Begun};
use crate::context::{StageContext, StageEnd};

pub async fn run(ctx: &StageContext) -> Result<StageEnd, StageError> {
    if !ctx.again
        && let Some(set) = own_set::published(ctx, &ctx.settings.this, Role::Etcd).await?
    {
        return Ok(own_set::exists(ctx, &set));
    }
    let local = ctx.offload(|ctx| discover(&ctx.settings.etcd, Path::new("/"))).await?;
    let mut view = MemberView::of(&local).await?;
    if turn::wait(ctx, &view).await {
        // It waited for minutes, so the view is old.
        view = MemberView::of(&local).await?;
    }
    // Also where another member's snapshot is enough: this host may be the one that drills it.
    tools::keep_those_of_container(ctx, &local, &view.member.version).await;
    if let Some(reason) = turn::not_needed(ctx, &view).await? {
        tracing::info!("no snapshot of this member tonight: {reason}");
        return Ok(StageEnd { reason: Some(reason), ..StageEnd::done() });
    }
    view.report(ctx);
    let agreement = agreement::compare(ctx, &view).await;
    let end = one_set(ctx, &local, &view, agreement.clone()).await?;
    if end.outcome != Outcome::Failed {
        return Ok(end);
    }
    // Either the snapshot was damaged on its way, or the member itself is damaged. A second snapshot shows which; a third would
    // show nothing more.
    let end = one_set(ctx, &local, &view, agreement).await?;
    Ok(if end.outcome == Outcome::Failed { StageEnd { retry: false, ..end } } else { end })
}

/// One attempt at tonight's set: the snapshot, and the files with it.
async fn one_set(
    ctx: &StageContext,
    local: &LocalMember,
    view: &MemberView,
    agreement: Option<Agreement>,
) -> Result<StageEnd, StageError> {
    // A snapshot cannot be resumed. Before this, the stage waits for its slot and for etcd.
    let _work = ctx.stop.work().await;
    let leave = space::leave(ctx, local, &view.member, ctx.vault.root())?;
    let Begun { partial, previous } = match own_set::begin(ctx, &ctx.settings.this, Role::Etcd, leave).await?
    {
        Begin::New(begun) => *begun,
        Begin::Exists(set) => return Ok(own_set::exists(ctx, &set)),
    };
    space::reserve(ctx, &partial, view.member.db_size)
        .map_err(|source| StageError::Space { what: "a snapshot", source })?;
    let (name, taken) = take(ctx, &view.client, &partial).await?;
    let (partial, mut draft) = collect_role::files(ctx, Role::Etcd, partial, previous).await?;
    draft::complete(&mut draft, name, view, taken, agreement);
    service::add(local, &mut draft).await;
    draft::doubt(ctx, &mut draft).await?;
    // No member is stopped for a set that is bad anyway.
    if draft.bad.is_empty() {
        data::add(ctx, local, view, &partial, &mut draft).await;
    }
    own_set::publish(ctx, partial, draft).await
}

async fn take(
    ctx: &StageContext,
    client: &Client,
    partial: &Partial,
) -> Result<(&'static str, Taken), StageError> {
    let settings = &ctx.settings.etcd;
    let name = match settings.compression {
        Compression::Gzip => "snapshot.db.gz",
        Compression::Zstd => "snapshot.db.zst",
    };
    let file = partial.create(name)?;
    let limits = Limits { stall: settings.stall, deadline: settings.deadline };
    Ok((name, snapshot::take(client, file, settings.compression, limits).await?))
}

#[cfg(test)]
mod tests;
