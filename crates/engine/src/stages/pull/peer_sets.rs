//! What a peer has published tonight, and from it every set that this vault lacks.

use jiff::Timestamp;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::hint::Hint;
use nightshift_core::inventory::Host;
use nightshift_core::night::Night;
use nightshift_core::outcome::{Grade, Outcome};
use nightshift_core::record::Fate;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::EtcdMembers;
use nightshift_core::stage::Stage;
use nightshift_peers::{Credentials, PeerVault};
use nightshift_store::StoreError;

use super::outcome::PullOutcome;
use super::{fetch, rival};
use crate::context::StageContext;
use crate::hint_file;
use crate::stages::error::StageError;
use crate::stages::queue::Polled;
use crate::stages::{proofs, stored_sets};

/// Why a stored set does not count.
const NEWER: &str = "its set has a newer format: upgrade masters first";

/// Pulls a peer's own sets of one role, every attempt that is not stored here.
pub async fn pull(
    ctx: &StageContext,
    host: &Host,
    role: Role,
    credentials: &Credentials,
) -> Result<Polled<PullOutcome>, StageError> {
    let peer = PeerVault::open(credentials, host).await?;
    let hint = peer.hint().await;
    let odd = oddities(ctx, hint.as_ref());
    log_oddities(ctx, host, &odd);
    let pulled = pull_published(ctx, &peer, credentials, role).await;
    if role != Role::Node {
        log_if_failed(ctx, host, "copy its acceptances", proofs::copy_accepted(ctx, &peer).await);
    }
    log_if_failed(ctx, host, "copy its earlier proofs", proofs::copy_late(ctx, &peer).await);
    peer.close().await;
    Ok(match pulled? {
        Some(polled) => polled,
        None if is_not_needed(ctx, hint.as_ref(), role) => Polled::Ready(PullOutcome::NotNeeded),
        None if !ctx.is_common() && lacks_night(ctx.night, hint.as_ref()) => {
            Polled::Ready(PullOutcome::NoSuchNight)
        }
        None => not_yet(hint.as_ref(), ctx.night, role, &odd),
    })
}

/// Pulls the peer's own sets of one role; `None` if it has none.
async fn pull_published(
    ctx: &StageContext,
    peer: &PeerVault,
    credentials: &Credentials,
    role: Role,
) -> Result<Option<Polled<PullOutcome>>, StageError> {
    let mut published = peer.sets(peer.host(), ctx.night).await?;
    published.retain(|set| set.role == role);
    let mut fresh = false;
    let mut refused = None;
    let mut diverged = false;
    let (stored, lacking): (Vec<SetId>, Vec<SetId>) =
        ctx.offload(move |ctx| published.into_iter().partition(|set| ctx.vault.contains(set))).await;
    for set in stored {
        diverged |= rival::find(ctx, peer, &set).await?;
    }
    for set in lacking {
        match fetch(ctx, peer, credentials, &set).await {
            Ok(()) => fresh = true,
            // It was reported, and another attempt may be good.
            Err(error) if error.is_refusal() => refused = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    let host = peer.host().clone();
    let stored = ctx.offload(move |StageContext { vault, night, .. }| {
        let newer = vault.sets_of(&host, *night)?.iter().any(|set| set.role == role && vault.is_newer(set));
        Ok::<_, StoreError>((vault.best(&host, *night, role), newer))
    });
    let (best, newer) = stored.await?;
    match (best, refused) {
        (Some(best), _) => {
            stored_sets::ensure_recorded(ctx, &best, Fate::Pulled).await?;
            let grade = if diverged { Grade::Diverged } else { best.grade };
            Ok(Some(Polled::Ready(PullOutcome::Stored { grade, fresh })))
        }
        (None, Some(refused)) => Err(refused.into()),
        (None, None) if newer => Ok(Some(Polled::GiveUp(NEWER.to_owned()))),
        (None, None) => Ok(None),
    }
}

/// Whether a peer without an etcd set completed its stage: with `members = "one"` another member's set is enough.
fn is_not_needed(ctx: &StageContext, hint: Option<&Hint>, role: Role) -> bool {
    let done = |hint: &Hint| {
        hint.stage(ctx.night, Stage::SnapshotEtcd).is_some_and(|stage| stage.outcome == Outcome::Done)
    };
    role == Role::Etcd && ctx.settings.etcd.members == EtcdMembers::One && hint.is_some_and(done)
}

/// Whether a peer without a set will not publish one: each host opens its own extra nights.
fn lacks_night(night: Night, hint: Option<&Hint>) -> bool {
    night.is_extra() && hint.is_none_or(|hint| hint.night != Some(night))
}

/// A peer has no set: either its own hint says that it failed, or it is not finished yet. What is odd about it may be why.
fn not_yet(hint: Option<&Hint>, night: Night, role: Role, odd: &[String]) -> Polled<PullOutcome> {
    let failed = Stage::ALL
        .into_iter()
        .find(|stage| stage.makes() == Some(role))
        .and_then(|stage| hint?.stage(night, stage))
        .filter(|stage| matches!(stage.outcome, Outcome::Failed | Outcome::Missed));
    match failed {
        Some(stage) => Polled::GiveUp(format!("it reports: {stage}")),
        None => {
            let reasons = std::iter::once("it has not published tonight's set yet");
            let reasons: Vec<&str> = reasons.chain(odd.iter().map(String::as_str)).collect();
            Polled::Retry(reasons.join("; "))
        }
    }
}

/// The pull itself reports a lost connection; only what failed on this host is news.
fn log_if_failed(ctx: &StageContext, host: &Host, what: &str, result: Result<(), StageError>) {
    match result {
        Ok(()) => {}
        Err(error @ StageError::Store(_)) => ctx.log(Event {
            peer: Some(host.name.clone()),
            ..Event::degraded(Kind::OperationFailed, format!("{}: cannot {what}", host.name), chain(&error))
        }),
        Err(error) => tracing::debug!("{}: cannot {what}: {}", host.name, chain(&error)),
    }
}

/// How a peer's state or settings differ from what this host expects.
fn oddities(ctx: &StageContext, hint: Option<&Hint>) -> Vec<String> {
    hint.map(|hint| hint.oddities(&hint_file::basics(&ctx.settings), Timestamp::now())).unwrap_or_default()
}

/// Logs them once a night: at each poll they are found again, with other numbers.
fn log_oddities(ctx: &StageContext, host: &Host, odd: &[String]) {
    if !odd.is_empty() && ctx.once.is_first(&format!("odd {}", host.name)) {
        ctx.log(Event {
            peer: Some(host.name.clone()),
            ..Event::degraded(Kind::PeerOdd, &host.name, odd.join("; "))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_without_a_set_is_reported_with_the_likely_cause() {
        let night = "2026-11-22".parse().unwrap();
        let clock = ["its clock is 7199 s ahead of this host's".to_owned()];
        let reason = |oddities: &[String]| match not_yet(None, night, Role::Node, oddities) {
            Polled::Retry(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(&[]), "it has not published tonight's set yet");
        assert!(reason(&clock).contains(&clock[0]), "{}", reason(&clock));
    }
}
