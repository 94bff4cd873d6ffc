//! `prune`: applies the policy to the vault, to `sent/`, and to remotes that allow it, and verifies a part of what stays.

mod remote;
mod scrub;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::manifest::ManifestError;
use nightshift_core::name::HostName;
use nightshift_core::outcome::{Grade, Verdict};
use nightshift_core::record::Step;
use nightshift_core::retention::{Candidate, Policy, Reason, decide};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_store::records::Records;
use nightshift_store::{Judge, Judged, Listed, StoreError};
use tokio::time::{Instant, timeout_at};

use super::error::StageError;
use super::free_space;
use crate::context::{StageContext, StageEnd};

/// For listing the archives on a remote and removing some of them.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(900);

pub async fn run(ctx: &StageContext) -> Result<StageEnd, StageError> {
    let as_of = ctx.settings.window.as_of(ctx.night, Timestamp::now());
    let mut faults = vault(ctx, as_of).await?;
    let records = Records::new(ctx.settings.paths.records());
    if let Err(error) = ctx.offload(move |_| records.remove_older(as_of)).await {
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
    let dropped = ctx.offload(move |ctx| {
        let mut unreadable = Vec::new();
        dropped(ctx, as_of, &mut unreadable).map(|sets| (sets, unreadable))
    });
    let (sets, mut faults) = dropped.await?;
    for (set, reason) in sets {
        // The reason is on disk before the set is gone.
        ctx.report(Step::Pruned { what: set.to_string(), reason: reason.to_string() }).await?;
        if let Err(error) = ctx.offload(move |ctx| ctx.vault.remove(&set)).await {
            faults.push(chain(&error));
        }
    }
    Ok(faults)
}

/// What the policy drops from the vault, as of the night of `today`. Damaged sets cannot be judged, and are never removed. Those of
/// a newer format are kept as long as others.
fn dropped(
    ctx: &StageContext,
    today: Date,
    unreadable: &mut Vec<String>,
) -> Result<Vec<(SetId, Reason)>, StoreError> {
    let StageContext { settings, vault, .. } = ctx;
    vault.sweep(Some(ctx.night))?;
    let (mut sets, mut candidates) = (Vec::new(), Vec::new());
    let mut retired: BTreeSet<HostName> = BTreeSet::new();
    let mut judge = Judge::new(vault);
    let Listed { sets: stored, unlisted } = vault.list()?;
    unreadable.extend(unlisted.iter().map(|error| chain(error)));
    for set in stored {
        if settings.inventory.get(&set.host).is_none() {
            retired.insert(set.host.clone());
        }
        let (grade, proved, awaits, accepted) = match judge.judge(&set) {
            Ok(Judged { grade, proved, awaits, accepted, .. }) => (grade, proved, awaits, accepted),
            // This version cannot use it as a copy, and its directory says how old it is.
            Err(StoreError::Manifest { source: ManifestError::Newer(_), .. }) => {
                (Grade::Bad, false, false, false)
            }
            Err(error) => {
                unreadable.push(chain(&error));
                continue;
            }
        };
        let SetId { host, night, role, attempt } = set.clone();
        let keep = if role == Role::Etcd { settings.vault.keep_etcd } else { settings.vault.keep };
        candidates.push(Candidate {
            host,
            series: role,
            night,
            attempt,
            keep,
            grade,
            proved,
            awaits,
            accepted,
        });
        sets.push(set);
    }
    let nights = verdicts(ctx)?;
    let policy = Policy { today, nights: &nights, retired: &retired };
    let decided = sets.into_iter().zip(decide(&candidates, &policy));
    let dropped = decided.filter(|(_, decision)| !decision.keep);
    Ok(dropped.map(|(set, decision)| (set, decision.reason)).collect())
}

/// The result of each recorded night.
fn verdicts(ctx: &StageContext) -> Result<BTreeMap<Date, Verdict>, StoreError> {
    let records = Records::new(ctx.settings.paths.records());
    let mut verdicts = BTreeMap::new();
    for night in records.nights()?.into_iter().filter(|night| !night.is_extra()) {
        // Without its record, a night counts like one whose result is unknown.
        match records.read(night) {
            Ok(record) => {
                let closed = record.and_then(|record| record.closed);
                verdicts.extend(closed.map(|closed| (night.date, closed.verdict)));
            }
            Err(error) => tracing::warn!("{}", chain(&error)),
        }
    }
    Ok(verdicts)
}
