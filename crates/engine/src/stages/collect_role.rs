//! `collect-node` and `collect-master`: the files of the role, published as tonight's set.

use nightshift_core::manifest::Manifest;
use nightshift_core::role::Role;
use nightshift_store::Partial;

use super::error::StageError;
use super::own_set::{self, Begin, Begun, Draft};
use crate::collect::{self, CollectError, gaps};
use crate::context::{StageContext, StageEnd};
use crate::machine;

pub async fn run(ctx: &StageContext, role: Role) -> Result<StageEnd, StageError> {
    let min_free = ctx.settings.vault.min_free;
    let Begun { partial, previous } = match own_set::begin(ctx, &ctx.settings.this, role, min_free).await? {
        Begin::New(begun) => *begun,
        Begin::Exists(set) => return Ok(own_set::exists(ctx, &set)),
    };
    let (partial, draft) = files(ctx, role, partial, previous).await?;
    own_set::publish(ctx, partial, draft).await
}

/// Collects the role's files into a set that was begun.
pub(super) async fn files(
    ctx: &StageContext,
    role: Role,
    partial: Partial,
    previous: Option<Manifest>,
) -> Result<(Partial, Draft), CollectError> {
    ctx.offload(move |ctx| {
        let rules = ctx.settings.file_rules(role, machine::control_plane());
        let collected = collect::collect(rules, &partial, previous.as_ref())?;
        let gaps = gaps::notes(&ctx.settings, &ctx.vault, role);
        let draft = Draft {
            vanished: collect::vanished(previous.as_ref(), &collected.items),
            items: collected.items,
            faults: collected.faults,
            notes: [collected.notes, gaps].concat(),
            ..Draft::default()
        };
        Ok((partial, draft))
    })
    .await
}
