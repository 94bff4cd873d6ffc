//! `pull-etcd` and `pull-nodes`: every other host's set of tonight into this vault.

mod agentless;
mod fetch;
mod outcome;
mod peer_sets;
mod remote_files;
mod rival;

use futures_util::FutureExt as _;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::inventory::Host;
use nightshift_core::record::{Fate, SetReport, Step};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_peers::Credentials;

use crate::context::{StageContext, StageEnd};
use crate::stages::queue::{Polled, Queue};
pub(super) use fetch::fetch;
use outcome::{PullOutcome, Tally};

pub async fn run(ctx: StageContext, role: Role) -> StageEnd {
    match Credentials::of_peers(&ctx.settings).await {
        Ok(credentials) => pull_role(&ctx, role, &credentials).await,
        Err(error) => StageEnd::broken(chain(&error)),
    }
}

/// Pulls the sets of one role from their origin hosts, many in parallel.
pub(super) async fn pull_role(ctx: &StageContext, role: Role, credentials: &Credentials) -> StageEnd {
    let hosts: Vec<&Host> = ctx.peers.iter().filter_map(|name| ctx.settings.inventory.get(name)).collect();
    ctx.board.begin(ctx.stage, hosts.len());
    let mut queue = Queue::new(ctx, hosts);
    let mut tally = Tally::default();
    let poll = |host| pull_host(ctx, host, role, credentials).boxed();
    while let Some((host, outcome)) = queue.next(&poll).await {
        ctx.board.advance(ctx.stage);
        if let Err(reason) = &outcome {
            report_missing(ctx, host, role, reason).await;
        }
        tally.add(host.name.as_str(), outcome);
    }
    ctx.board.end(ctx.stage);
    tally.end()
}

async fn pull_host(
    ctx: &StageContext,
    host: &Host,
    role: Role,
    credentials: &Credentials,
) -> Polled<PullOutcome> {
    if host.agentless {
        agentless::collect(ctx, host, role, credentials).await
    } else {
        peer_sets::pull(ctx, host, role, credentials).await.unwrap_or_else(Polled::from)
    }
}

async fn report_missing(ctx: &StageContext, host: &Host, role: Role, reason: &str) {
    let set = SetId::first(host.name.clone(), ctx.night, role);
    let what = format!("cannot record that {set} is missing");
    let report = SetReport {
        set,
        fate: Fate::Missing,
        grade: None,
        from: None,
        bytes: 0,
        sha256: None,
        reason: Some(reason.to_owned()),
    };
    if let Err(error) = ctx.report(Step::Set(report)).await {
        ctx.log(Event::failed(Kind::RecordFailed, what, chain(&error)));
    }
}
