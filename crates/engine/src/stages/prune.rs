//! `prune`: applies the policy to the vault, to `sent/`, and to remotes that allow it, and verifies a part of what stays, here and on
//! remotes.

mod recheck;
mod remote;
mod scrub;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::record::Step;
use nightshift_store::records::Records;
use nightshift_store::{StoreError, kept};
use tokio::time::{Instant, timeout_at};

use super::error::StageError;
use super::free_space;
use crate::context::{StageContext, StageEnd};
use crate::retention::{self, DecidedSets};

/// For listing the archives on a remote and removing some of them, and for verifying one of them again.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(900);

pub async fn run(ctx: &StageContext) -> Result<StageEnd, StageError> {
    let as_of = ctx.settings.window.as_of(ctx.night, Timestamp::now());
    let mut faults = vault(ctx, as_of).await?;
    let records = Records::new(ctx.settings.paths.records());
    let path = ctx.settings.paths.kept();
    let removed = ctx.offload(move |_| kept::read(&path).and_then(|kept| records.remove_older(as_of, &kept)));
    if let Err(error) = removed.await {
        faults.push(chain(&error));
    }
    if let Err(error) = ctx.offload(free_space::remove_shipped).await {
        faults.push(chain(&error));
    }
    match scrub::scrub(ctx).await {
        Ok(bad) => faults.extend(bad),
        Err(error) => faults.push(chain(&error)),
    }
    let remotes: Vec<_> = ctx.settings.remotes.iter().filter(|remote| remote.prune).collect();
    for (at, remote) in remotes.iter().enumerate() {
        let end = ctx.share(remotes.len() - at).min(Instant::now() + REMOTE_TIMEOUT);
        match timeout_at(end, remote::prune(ctx, remote)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => faults.push(format!("remote {}: {}", remote.name, chain(&error))),
            Err(_) => faults.push(format!(
                "remote {}: it is too slow; the rest is pruned in the next night",
                remote.name
            )),
        }
    }
    let all = &ctx.settings.remotes;
    for (at, remote) in all.iter().enumerate() {
        let end = ctx.share(all.len() - at).min(Instant::now() + REMOTE_TIMEOUT);
        match recheck::one(ctx, remote, end).await {
            Ok(wrong) => faults.extend(wrong),
            Err(error) => faults.push(format!("remote {}: {}", remote.name, chain(&error))),
        }
    }
    Ok(if faults.is_empty() { StageEnd::done() } else { StageEnd::degraded(faults.join("; ")) })
}

/// Makes space when the night opens: removes shipped archives over the limit, and what the policy drops even without counting
/// tonight's sets. The policy goes by dates, so nothing is dropped while the clock is doubtful.
pub async fn before_tonight(ctx: &StageContext, is_synchronised: bool) {
    ctx.offload(free_space::remove_or_report).await;
    if !is_synchronised {
        return;
    }
    let as_of = ctx.settings.window.as_of(ctx.night, Timestamp::now());
    let Ok(yesterday) = as_of.yesterday() else { return };
    match vault(ctx, yesterday).await {
        Ok(faults) if faults.is_empty() => {}
        Ok(faults) => {
            let what = "cannot prune all of the vault";
            ctx.log(Event::degraded(Kind::OperationFailed, what, faults.join("; ")));
        }
        Err(error) => ctx.log(Event::failed(Kind::OperationFailed, "cannot prune the vault", chain(&error))),
    }
}

/// Prunes this host's vault as of a date and sweeps what crashes left. Returns what cannot be judged or removed, and so
/// stays.
async fn vault(ctx: &StageContext, as_of: Date) -> Result<Vec<String>, StoreError> {
    let decided = ctx.offload(move |ctx| {
        ctx.vault.sweep(Some(ctx.night))?;
        retention::sets(&ctx.settings, &ctx.vault, as_of)
    });
    let DecidedSets { sets, unreadable: mut faults } = decided.await?;
    for (set, decision) in sets.into_iter().filter(|(_, decision)| !decision.keep) {
        // The reason is on disk before the set is gone.
        ctx.report(Step::Pruned { what: set.to_string(), reason: decision.reason.to_string() }).await?;
        if let Err(error) = ctx.offload(move |ctx| ctx.vault.remove(&set)).await {
            faults.push(chain(&error));
        }
    }
    Ok(faults)
}
