//! When this member's snapshot is taken: each host computes it alone. Followers come first, by their id, the leader last, one
//! slot apart.

use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::outcome::Grade;
use nightshift_core::record::StartReason;
use nightshift_core::role::Role;
use nightshift_core::settings::EtcdMembers;
use nightshift_core::units;
use nightshift_etcd::cluster::{Cluster, MemberStatus};
use nightshift_store::StoreError;
use tokio::time::sleep;

use super::view::MemberView;
use crate::context::StageContext;

/// The longest sleep, because the clock may be set meanwhile.
const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// Waits for this member's slot, and returns whether it waited. A stage that an operator started does not wait.
pub async fn wait(ctx: &StageContext, view: &MemberView) -> bool {
    let place = view.cluster.as_ref().and_then(|cluster| cluster.place(view.member.id)).unwrap_or(0);
    if ctx.why == StartReason::Requested {
        return false;
    }
    let starts = slot_start(ctx.at, ctx.settings.etcd.slot, place).min(ctx.until);
    let left = || Duration::try_from(starts.duration_since(Timestamp::now())).unwrap_or_default();
    if left().is_zero() {
        return false;
    }
    let shown = units::local_time(starts, &ctx.settings.window.zone);
    tracing::info!("this member's snapshot is number {} tonight and starts at {shown}", place + 1);
    while !left().is_zero() {
        sleep(left().min(POLL_INTERVAL)).await;
    }
    true
}

fn slot_start(at: Timestamp, slot: Duration, place: usize) -> Timestamp {
    let later = slot.saturating_mul(u32::try_from(place).unwrap_or(u32::MAX));
    at.checked_add(later).unwrap_or(at)
}

/// Why this member's snapshot is not needed, if one member's is enough: this vault has a good set of tonight, or a healthy
/// member comes earlier in the order, whose host takes the snapshot.
///
/// A host that pulls from no other cannot see whether another host has published a set. So a healthy member is assumed to have
/// a running nightshift; the masters, which see all vaults, report the night as failed if it has none.
pub async fn not_needed(ctx: &StageContext, view: &MemberView) -> Result<Option<String>, StoreError> {
    let Some(cluster) = view.cluster.as_ref().filter(|_| ctx.settings.etcd.members == EtcdMembers::One)
    else {
        return Ok(None);
    };
    if ctx.why == StartReason::Requested {
        return Ok(None);
    }
    if let Some(set) = ctx.offload(good_set).await? {
        return Ok(Some(format!("`members` in [etcd] is \"one\", and this host has {set} already")));
    }
    Ok(healthy_before(cluster, view).map(|name| {
        format!("`members` in [etcd] is \"one\", and member {name}, which comes earlier, is healthy")
    }))
}

fn healthy_before(cluster: &Cluster, view: &MemberView) -> Option<String> {
    let mut before = cluster.before(view.member.id);
    before.find(|member| member.unfit(&view.member.alarms).is_none()).map(MemberStatus::label)
}

/// A good etcd set of tonight in this vault, of any host.
fn good_set(ctx: &StageContext) -> Result<Option<String>, StoreError> {
    for host in ctx.settings.inventory.with_role(Role::Etcd) {
        let best = ctx.vault.best(&host.name, ctx.night, Role::Etcd);
        if let Some(best) = best.filter(|best| best.grade == Grade::Good) {
            return Ok(Some(best.manifest.id().to_string()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_snapshot_starts_a_slot_after_the_one_before() {
        let at: Timestamp = "2026-11-22T21:00:00Z".parse().unwrap();
        let slot = Duration::from_secs(180);
        let times = [0, 1, 2].map(|place| slot_start(at, slot, place).to_string());
        assert_eq!(times, ["2026-11-22T21:00:00Z", "2026-11-22T21:03:00Z", "2026-11-22T21:06:00Z"]);
        assert_eq!(slot_start(at, Duration::MAX, 2), at, "a slot beyond the end of time counts as none");
    }
}
