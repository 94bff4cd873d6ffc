//! `pull-etcd` and `pull-nodes`: every other host's set of tonight into this vault.
//!
//! At `until` the stage ends. A transfer that still runs continues beside the night, and its set counts as late.

mod agentless;
mod fetch;
mod outcome;
mod peer_sets;
mod rival;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::inventory::Host;
use nightshift_core::name::HostName;
use nightshift_core::record::{Fate, SetReport, Step};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_peers::{Credentials, ReachError};

use crate::context::{Beside, Ended, StageContext, StageEnd};
use crate::stages::error::StageError;
use crate::stages::queue::{Polled, Queue};
pub(super) use fetch::fetch;
use outcome::{PullOutcome, Tally};

const STILL_RUNNING: &str = "its transfer still runs at `until`; it continues, and the set counts as late";

pub async fn run(ctx: &StageContext, role: Role) -> Result<Ended, StageError> {
    // A host without peers needs neither keys nor pins.
    if ctx.peers.is_empty() {
        return Ok(StageEnd::done().into());
    }
    let credentials = Arc::new(Credentials::of_peers(&ctx.settings).await?.within(ctx.pulls.clone()));
    Ok(pull_role(ctx, role, &credentials).await)
}

/// Pulls the sets of one role from their origin hosts, many in parallel.
pub(super) async fn pull_role(ctx: &StageContext, role: Role, credentials: &Arc<Credentials>) -> Ended {
    let hosts: Vec<Arc<Host>> =
        ctx.peers.iter().filter_map(|name| ctx.settings.inventory.get(name)).cloned().map(Arc::new).collect();
    ctx.board.begin(ctx.stage, hosts.len());
    let mut queue = Queue::new(ctx, hosts);
    let mut tally = Tally::default();
    // The polls own what they need, so that they can outlive the stage.
    let owned = Arc::new(StageContext { is_over: Arc::default(), ..ctx.clone() });
    let (for_polls, credentials) = (Arc::clone(&owned), Arc::clone(credentials));
    let poll = move |host: Arc<Host>| {
        let (ctx, credentials) = (Arc::clone(&for_polls), Arc::clone(&credentials));
        async move { pull_host(&ctx, &host, role, &credentials).await }.boxed()
    };
    while let Some((host, outcome)) = queue.next(&poll).await {
        ctx.board.advance(ctx.stage);
        if let Err(reason) = &outcome {
            report_missing(ctx, &host.name, role, reason).await;
        }
        tally.add(host.name.as_str(), outcome);
    }
    ctx.board.end(ctx.stage);
    owned.is_over.store(true, Ordering::Relaxed);
    for host in queue.still_polled() {
        report_missing(ctx, &host.name, role, STILL_RUNNING).await;
        tally.add(host.name.as_str(), Err(STILL_RUNNING.to_owned()));
    }
    let transfers = queue.into_running().map(|transfer| finish(Arc::clone(&owned), role, transfer).boxed());
    Ended { end: tally.end(ctx.night), beside: Beside(transfers.collect()) }
}

/// Waits for a transfer that still runs. Returns whether it brought a set.
async fn finish(
    ctx: Arc<StageContext>,
    role: Role,
    transfer: BoxFuture<'static, (Arc<Host>, Polled<PullOutcome>)>,
) -> bool {
    match transfer.await {
        (_, Polled::Ready(outcome)) => outcome.is_fresh(),
        (host, Polled::Retry(reason) | Polled::GiveUp(reason)) => {
            report_missing(&ctx, &host.name, role, &reason).await;
            false
        }
    }
}

async fn pull_host(
    ctx: &StageContext,
    host: &Host,
    role: Role,
    credentials: &Credentials,
) -> Polled<PullOutcome> {
    let pulled = if host.agentless {
        agentless::collect(ctx, host, role, credentials).await.map(Polled::Ready)
    } else {
        peer_sets::pull(ctx, host, role, credentials).await
    };
    if let Err(error) = &pulled
        && error.is_no_space()
        && ctx.once.is_first(&format!("no space for {} {role}", host.name))
    {
        // It is retried until `until`, and an operator can act before that.
        report_missing(ctx, &host.name, role, &chain(error)).await;
    }
    pulled.unwrap_or_else(|error| {
        if let StageError::Reach(error) = &error {
            log_refusal(ctx, host, error);
        }
        match error.into() {
            Polled::Retry(reason) if is_extra_and_late(ctx) => Polled::GiveUp(reason),
            polled => polled,
        }
    })
}

/// An operator waits for a pull in an extra night: after this, a peer that cannot be reached is not retried.
fn is_extra_and_late(ctx: &StageContext) -> bool {
    const RETRIED_FOR: SignedDuration = SignedDuration::from_mins(1);
    ctx.night.is_extra() && Timestamp::now().duration_since(ctx.at) > RETRIED_FOR
}

/// Logs a changed host key and a refused login as events of their own, because an operator has to act on them.
fn log_refusal(ctx: &StageContext, host: &Host, error: &ReachError) {
    let ReachError::Connect(connect) = error else { return };
    if connect.is_permanent() {
        let kind = if connect.is_host_key() { Kind::HostKeyMismatch } else { Kind::LoginRefused };
        let event = Event::failed(kind, &host.name, chain(error));
        ctx.log(Event { peer: Some(host.name.clone()), ..event });
    }
}

pub(super) async fn report_missing(ctx: &StageContext, host: &HostName, role: Role, reason: &str) {
    let set = SetId::first(host.clone(), ctx.night, role);
    let what = format!("cannot record that {set} is missing");
    let report = SetReport {
        set,
        fate: Fate::Missing,
        grade: None,
        from: None,
        bytes: 0,
        sha256: None,
        reason: Some(reason.to_owned()),
        verified: None,
    };
    if let Err(error) = ctx.report(Step::Set(report)).await {
        ctx.log(Event::failed(Kind::RecordFailed, what, chain(&error)));
    }
}
