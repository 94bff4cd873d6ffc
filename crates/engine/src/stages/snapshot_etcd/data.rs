//! What a snapshot does not contain: v2 keys. They are saved by a v2 backup if there are no v3 keys, else by a cold copy.

use nightshift_core::chain;
use nightshift_core::etcd_facts::DataFound;
use nightshift_core::settings::EtcdData;
use nightshift_etcd::discover::LocalMember;
use nightshift_etcd::v2::stores::Stores;
use nightshift_store::Partial;

use super::view::MemberView;
use super::{cold_copy, v2_backup};
use crate::context::StageContext;
use crate::stages::own_set::Draft;

/// Adds the v2 keys to the set, and to the draft which of the member's stores the set contains.
pub async fn add(
    ctx: &StageContext,
    local: &LocalMember,
    view: &MemberView,
    partial: &Partial,
    draft: &mut Draft,
) {
    if ctx.settings.etcd.data == EtcdData::V3 {
        return;
    }
    let stores = Stores::of(ctx.settings.etcd.data, &view.client, local).await;
    if let Err(error) = &stores.v3 {
        draft.notes.push(format!("it is unknown whether the member has v3 keys: {}", chain(error)));
    }
    if let Err(error) = &stores.v2 {
        draft.faults.push(format!(
            "it is unknown whether the member has v2 keys, which a snapshot does not contain: {}; set `data` in [etcd]",
            chain(error)
        ));
    }
    let (v3, v2) = (stores.has_v3(), matches!(stores.v2, Ok(true)));
    let mut found = DataFound { v3, v2, ..DataFound::default() };
    match (v3, v2) {
        (_, false) => {}
        (false, true) => {
            found.v2_backup = v2_backup::add(ctx, local, &view.member, partial, draft).await;
        }
        (true, true) => {
            found.cold_copy = cold_copy::add(ctx, local, &view.member, partial, draft).await;
        }
    }
    if let Some(facts) = &mut draft.etcd {
        facts.data = Some(found);
    }
}
