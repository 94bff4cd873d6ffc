//! `prune`: what the policy drops from the vault, from `sent/`, and from remotes that allow it; and a look at what stays.

mod remote;
mod scrub;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::name::HostName;
use nightshift_core::outcome::Verdict;
use nightshift_core::record::Step;
use nightshift_core::retention::{Candidate, Decision, Policy, decide};
use nightshift_core::settings::Settings;

use crate::context::{StageContext, StageEnd};
use nightshift_store::offload;
use nightshift_store::outbox::Outbox;
use nightshift_store::records::Records;
use nightshift_store::{Judge, Judged, StoreError, Vault};

pub async fn run(ctx: StageContext) -> StageEnd {
    let mut faults = Vec::new();
    match vault(&ctx, ctx.night.date).await {
        Ok(stayed) => faults.extend(stayed),
        Err(error) => return StageEnd::failed(chain(&error)),
    }
    if let Err(error) = sent(&ctx).await {
        faults.push(chain(&error));
    }
    match scrub::scrub(&ctx).await {
        Ok(bad) => faults.extend(bad),
        Err(error) => faults.push(chain(&error)),
    }
    for remote in ctx.settings.remotes.iter().filter(|remote| remote.prune) {
        if let Err(error) = remote::prune(&ctx, remote).await {
            faults.push(format!("remote {}: {}", remote.name, chain(&error)));
        }
    }
    if faults.is_empty() { StageEnd::done() } else { StageEnd::degraded(faults.join("; ")) }
}

/// What the policy drops even without counting tonight's sets, removed when the night opens.
pub async fn before_tonight(ctx: &StageContext) {
    let Ok(yesterday) = ctx.night.date.yesterday() else { return };
    match vault(ctx, yesterday).await {
        Ok(faults) if faults.is_empty() => {}
        Ok(faults) => tracing::warn!("not all of the vault can be pruned: {}", faults.join("; ")),
        Err(error) => tracing::error!("the vault cannot be pruned: {}", chain(&error)),
    }
}

/// Prunes this host's vault as of a date and sweeps what crashes left. Returns what cannot be judged or removed,
/// which stays.
async fn vault(ctx: &StageContext, as_of: Date) -> Result<Vec<String>, StoreError> {
    let (settings, held, night) = (ctx.settings.clone(), ctx.vault.clone(), ctx.night);
    let (decisions, mut faults) = offload::run(move || {
        held.sweep(Some(night))?;
        decisions(&settings, &held, as_of)
    })
    .await?;
    for Decision { set, reason, .. } in decisions.into_iter().filter(|decision| !decision.keep) {
        // The reason is on disk before the set is gone.
        removed(ctx, &set.to_string(), &reason.to_string()).await?;
        let held = ctx.vault.clone();
        if let Err(error) = offload::run(move || held.remove(&set)).await {
            faults.push(chain(&error));
        }
    }
    Ok(faults)
}

/// What the policy says of every set in a vault, as of the night of `today`.
pub fn decisions(
    settings: &Settings,
    vault: &Vault,
    today: Date,
) -> Result<(Vec<Decision>, Vec<String>), StoreError> {
    let mut candidates = Vec::new();
    let mut unreadable = Vec::new();
    let mut retired: BTreeSet<HostName> = BTreeSet::new();
    let mut judge = Judge::new(vault);
    for set in vault.sets()? {
        if settings.inventory.get(&set.host).is_none() {
            retired.insert(set.host.clone());
        }
        match judge.judge(&set) {
            Ok(Judged { grade, accepted, proved, .. }) => {
                candidates.push(Candidate { set, grade, proved, accepted });
            }
            // What cannot be read cannot be judged, and is never removed by itself.
            Err(error) => unreadable.push(chain(&error)),
        }
    }
    let nights = worth(settings)?;
    let policy = Policy {
        today,
        files: settings.vault.keep,
        etcd: settings.vault.keep_etcd,
        nights: &nights,
        retired: &retired,
    };
    Ok((decide(&candidates, &policy), unreadable))
}

/// What each recorded night was worth.
fn worth(settings: &Settings) -> Result<BTreeMap<Date, Verdict>, StoreError> {
    let records = Records::new(settings.paths.records());
    let mut worth = BTreeMap::new();
    for night in records.nights()?.into_iter().filter(|night| !night.is_extra()) {
        if let Some(closed) = records.read(night)?.and_then(|record| record.closed) {
            worth.insert(night.date, closed.verdict);
        }
    }
    Ok(worth)
}

async fn sent(ctx: &StageContext) -> Result<(), StoreError> {
    let sent = Outbox::new(ctx.settings.paths.sent());
    let listed = sent.clone();
    let archives = offload::run(move || listed.archives()).await?;
    let keep = ctx.settings.archive.keep_sent;
    let over = archives.len().saturating_sub(keep);
    for archive in archives.into_iter().take(over) {
        removed(
            ctx,
            &archive.to_string(),
            &format!("every remote has it, and the newest {keep} are kept here"),
        )
        .await?;
        let sent = sent.clone();
        offload::run(move || sent.remove(&archive)).await?;
    }
    Ok(())
}

/// Records a removal and its reason, and logs it.
async fn removed(ctx: &StageContext, what: &str, reason: &str) -> Result<(), StoreError> {
    ctx.note(Step::Pruned { what: what.to_owned(), reason: reason.to_owned() }).await?;
    ctx.tell(Event {
        path: Some(what.to_owned()),
        reason: Some(reason.to_owned()),
        ..Event::info(Kind::Pruned, format!("{what} removed: {reason}"))
    });
    Ok(())
}
