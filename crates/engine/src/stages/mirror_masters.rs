//! `mirror-masters`: the other masters' own sets, and then from them every set that this vault still lacks.

use std::collections::BTreeSet;
use std::sync::Arc;

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::inventory::Host;
use nightshift_core::outcome::Grade;
use nightshift_core::record::Expected;
use nightshift_core::role::Role;
use nightshift_peers::{Credentials, PeerVault};
use nightshift_store::StoreError;
use tokio::time::timeout_at;

use crate::context::{Ended, StageContext, StageEnd};
use crate::expected;
use crate::stages::error::StageError;
use crate::stages::pull;

pub async fn run(ctx: &StageContext) -> Result<Ended, StageError> {
    if ctx.peers.is_empty() {
        return Ok(StageEnd::done().into());
    }
    let credentials = Arc::new(Credentials::of_peers(&ctx.settings).await?.within(ctx.pulls.clone()));
    let mut ended = pull::pull_role(ctx, Role::Master, &credentials).await;
    for (at, master) in ctx.peers.iter().enumerate() {
        let lacking = ctx.offload(lacking).await?;
        let Some(host) = ctx.settings.inventory.get(master).filter(|_| !lacking.is_empty()) else { continue };
        let gained = &mut ended.end.gained;
        let filling = fill(ctx, host, &lacking, &credentials, gained);
        match timeout_at(ctx.share(ctx.peers.len() - at), filling).await {
            Ok(Ok(())) => {}
            // The pull above reported already that this master cannot be reached.
            Ok(Err(error)) => tracing::debug!("{master}: {}", chain(&error)),
            // The next master may be faster. A later run fetches the rest: a partial set is resumed.
            Err(_) => {
                tracing::info!("{master} is too slow: what it has and this host lacks is fetched later");
            }
        }
    }
    Ok(ended)
}

/// The expected sets that are not stored here, or only with a poor grade.
fn lacking(ctx: &StageContext) -> Result<Vec<Expected>, StoreError> {
    let mut lacking = Vec::new();
    let mut covered = BTreeSet::new();
    for expected in expected::sets(&ctx.settings) {
        let grade = ctx.vault.best(&expected.host, ctx.night, expected.role).map(|best| best.grade);
        if grade.is_some_and(Grade::is_copy) {
            covered.insert(expected.role);
        }
        if expected.host != ctx.settings.this && grade != Some(Grade::Good) {
            lacking.push((expected, grade.is_none()));
        }
    }
    // With `members = "one"` an absent set is not lacking if another member's is stored here.
    lacking.retain(|(expected, absent)| !(expected.any && *absent && covered.contains(&expected.role)));
    Ok(lacking.into_iter().map(|(expected, _)| expected).collect())
}

/// Fetches from another master those of the lacking sets that it has. They count only with a good signature of their
/// origin host. `gained` is set once one of them is stored.
async fn fill(
    ctx: &StageContext,
    master: &Host,
    lacking: &[Expected],
    credentials: &Credentials,
    gained: &mut bool,
) -> Result<(), StageError> {
    let peer = PeerVault::open(credentials, master).await?;
    for Expected { host, role, .. } in lacking {
        let mut sets = peer.sets(host, ctx.night).await?;
        sets.retain(|set| set.role == *role && !ctx.vault.contains(set));
        for set in sets {
            match pull::fetch(ctx, &peer, credentials, &set).await {
                Ok(()) => *gained = true,
                // It was reported.
                Err(error) if error.is_refusal() => {}
                Err(error) if error.is_no_space() => {
                    pull::report_missing(ctx, host, *role, &chain(&error)).await;
                }
                Err(error) => ctx.log(Event {
                    peer: Some(master.name.clone()),
                    role: Some(*role),
                    path: Some(set.to_string()),
                    ..Event::degraded(
                        Kind::OperationFailed,
                        format!("{}: cannot fetch {set}", master.name),
                        chain(&error),
                    )
                }),
            }
        }
    }
    peer.close().await;
    Ok(())
}
