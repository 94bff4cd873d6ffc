//! Which of tonight's etcd sets the other masters have too, with the same manifest: copies that `status` counts.

use std::collections::BTreeSet;
use std::time::Duration;

use nightshift_core::chain;
use nightshift_core::inventory::Host;
use nightshift_core::record::Step;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_peers::{Credentials, PeerVault};
use nightshift_store::StoreError;
use tokio::time::{Instant, timeout_at};

use crate::context::StageContext;
use crate::stages::error::StageError;
use crate::stages::stored_sets;

/// For the manifests of a night's etcd sets, of which each may have 64 MiB.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(300);

/// Reads each other master's vault, and records which of the sets that are stored here it has. The stages that need a
/// master report one that cannot be reached.
pub async fn check(ctx: &StageContext) -> Result<(), StageError> {
    let sets = stored_sets::etcd_sets(ctx).await?;
    let masters: Vec<&Host> = ctx.settings.peers(Role::Master).collect();
    if sets.is_empty() || masters.is_empty() {
        return Ok(());
    }
    let credentials = Credentials::of_peers(&ctx.settings).await?;
    for (at, master) in masters.iter().enumerate() {
        let end = ctx.share(masters.len() - at).min(Instant::now() + COMPARE_TIMEOUT);
        match timeout_at(end, same(ctx, master, &sets, &credentials)).await {
            Ok(Ok(sets)) => record(ctx, master, sets).await?,
            Ok(Err(error)) => {
                tracing::debug!("{}: cannot compare its etcd sets: {}", master.name, chain(&error));
            }
            Err(_) => tracing::info!("{} is too slow: its etcd sets are not compared", master.name),
        }
    }
    Ok(())
}

async fn same(
    ctx: &StageContext,
    master: &Host,
    sets: &[SetId],
    credentials: &Credentials,
) -> Result<BTreeSet<SetId>, StageError> {
    let peer = PeerVault::open(credentials, master).await?;
    let mut same = BTreeSet::new();
    for set in sets {
        let theirs = peer.manifest_digest(set).await?;
        let of = set.clone();
        if theirs == Some(ctx.offload(move |ctx| ctx.vault.manifest_digest(&of)).await?) {
            same.insert(set.clone());
        }
    }
    peer.close().await;
    Ok(same)
}

/// Records the sets that the record does not have yet.
async fn record(ctx: &StageContext, master: &Host, sets: BTreeSet<SetId>) -> Result<(), StoreError> {
    let is_known = ctx.record.look(|record| {
        let seen = record.and_then(|record| record.seen.get(&master.name));
        sets.is_empty() || seen.is_some_and(|seen| sets.is_subset(seen))
    });
    if is_known {
        return Ok(());
    }
    ctx.note(Step::Seen { master: master.name.clone(), sets }).await
}
