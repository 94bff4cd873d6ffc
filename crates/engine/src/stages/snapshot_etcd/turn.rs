//! Whose turn it is, worked out by each host alone: the followers by their id, the leader last, a slot apart.

use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::outcome::Grade;
use nightshift_core::record::StartReason;
use nightshift_core::role::Role;
use nightshift_core::settings::EtcdMembers;
use nightshift_core::units;
use tokio::time::sleep;

use super::sight::Sight;
use crate::context::StageContext;
use nightshift_etcd::{Cluster, Seen};
use nightshift_store::StoreError;
use nightshift_store::offload;

/// How long it sleeps at a time: the clock may be set meanwhile.
const NAP: Duration = Duration::from_secs(30);

/// Waits for this member's slot; true if there was anything to wait for. Whoever asks by hand does not wait.
pub async fn wait(ctx: &StageContext, sight: &Sight) -> bool {
    let turn = sight.cluster.as_ref().and_then(|cluster| cluster.turn(sight.id)).unwrap_or(0);
    if ctx.why == StartReason::Requested {
        return false;
    }
    let begins = begins(ctx.at, ctx.settings.etcd.slot, turn).min(ctx.until);
    let left = || Duration::try_from(begins.duration_since(Timestamp::now())).unwrap_or_default();
    if left().is_zero() {
        return false;
    }
    let shown = units::local_time(begins, &ctx.settings.window.zone);
    tracing::info!("waiting for this member's slot: number {} tonight, at {shown}", turn + 1);
    while !left().is_zero() {
        sleep(left().min(NAP)).await;
    }
    true
}

fn begins(at: Timestamp, slot: Duration, turn: usize) -> Timestamp {
    let later = slot.saturating_mul(u32::try_from(turn).unwrap_or(u32::MAX));
    at.checked_add(later).unwrap_or(at)
}

/// Where one member's snapshot will do, why this one takes none: a copy of tonight lies in this vault, or a member that
/// comes before it in the order is well, so that it is for that one to take.
///
/// Whether another host has published cannot be seen from a host that pulls from nobody, so a well member is trusted to
/// have a nightshift beside it; the masters, who see all vaults, fail the night where it has none.
pub async fn left_to_another(ctx: &StageContext, sight: &Sight) -> Result<Option<String>, StoreError> {
    let Some(cluster) = sight.cluster.as_ref().filter(|_| ctx.settings.etcd.members == EtcdMembers::One)
    else {
        return Ok(None);
    };
    if ctx.why == StartReason::Requested {
        return Ok(None);
    }
    if let Some(set) = copy_here(ctx).await? {
        return Ok(Some(format!("[etcd] members is \"one\", and {set} is here already")));
    }
    Ok(well_before(cluster, sight).map(|name| {
        format!(
            "[etcd] members is \"one\": it is left to member {name}, which comes before this one and is well"
        )
    }))
}

fn well_before(cluster: &Cluster, sight: &Sight) -> Option<String> {
    cluster.before(sight.id).find(|seen| seen.unfit(&sight.member.alarms).is_none()).map(Seen::label)
}

/// A good etcd set of tonight of any host, in this vault.
async fn copy_here(ctx: &StageContext) -> Result<Option<String>, StoreError> {
    let (settings, vault, night) = (ctx.settings.clone(), ctx.vault.clone(), ctx.night);
    offload::run(move || {
        for host in settings.inventory.with_role(Role::Etcd) {
            let best = vault.best(&host.name, night, Role::Etcd)?;
            if let Some(best) = best.filter(|best| best.grade == Grade::Good) {
                return Ok(Some(best.manifest.id().to_string()));
            }
        }
        Ok(None)
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_turn_begins_a_slot_after_the_one_before() {
        let at: Timestamp = "2026-11-22T21:00:00Z".parse().unwrap();
        let slot = Duration::from_secs(180);
        let times = [0, 1, 2].map(|turn| begins(at, slot, turn).to_string());
        assert_eq!(times, ["2026-11-22T21:00:00Z", "2026-11-22T21:03:00Z", "2026-11-22T21:06:00Z"]);
        assert_eq!(begins(at, Duration::MAX, 2), at, "a slot beyond all times is none");
    }
}
