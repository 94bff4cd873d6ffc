//! `pull-etcd` and `pull-nodes`: every other host's set of tonight into this vault.

mod agentless;
mod download;
mod fetch;
mod file_sink;
mod peer_sets;
mod proofs;
mod queue;
mod remote_files;
mod rival;
mod verdict;

use futures_util::FutureExt as _;
use nightshift_core::audit::{Event, Kind, Severity};
use nightshift_core::chain;
use nightshift_core::inventory::Host;
use nightshift_core::outcome::{Grade, Outcome};
use nightshift_core::record::{Fate, SetReport, StartReason, Step};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;

pub(super) use fetch::{Fetch, Source};
pub(super) use peer_sets::{hint_of, manifest_at, published_at};
pub(super) use proofs::copy_proofs;
pub(super) use queue::{Answer, Queue};

use crate::context::{StageContext, StageEnd};
use nightshift_peers::Credentials;

pub async fn run(ctx: StageContext, role: Role) -> StageEnd {
    match Credentials::of_peers(&ctx.settings).await {
        Ok(credentials) => pull_role(&ctx, role, &credentials).await,
        Err(error) => StageEnd::broken(chain(&error)),
    }
}

/// Pulls the sets of one role from the hosts that made them, many side by side.
pub(super) async fn pull_role(ctx: &StageContext, role: Role, credentials: &Credentials) -> StageEnd {
    let hosts: Vec<&Host> = ctx.peers.iter().filter_map(|name| ctx.settings.inventory.get(name)).collect();
    ctx.board.begin(ctx.stage, hosts.len());
    let mut queue = Queue::new(ctx, hosts);
    let mut tally = Tally::default();
    let look = |host| pull_host(ctx, host, role, credentials).boxed();
    while let Some((host, answer)) = queue.next(&look).await {
        ctx.board.advance(ctx.stage);
        tally.take(ctx, host, role, answer).await;
    }
    ctx.board.end(ctx.stage);
    tally.end()
}

/// One look at one host.
async fn pull_host(ctx: &StageContext, host: &Host, role: Role, credentials: &Credentials) -> Answer {
    if host.agentless {
        return agentless::collect(ctx, host, role, credentials).await;
    }
    match peer_sets::pull(ctx, host, role, credentials).await {
        Ok(answer) => answer,
        Err(error) => verdict::of(&error),
    }
}

/// What the stage got, and what it lacks.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub gained: bool,
    pub lacking: Vec<String>,
}

impl Tally {
    async fn take(&mut self, ctx: &StageContext, host: &Host, role: Role, answer: Answer) {
        match answer {
            Answer::Held { grade, fresh } => {
                self.gained |= fresh;
                if grade != Grade::Good {
                    self.lacking.push(format!("{}: {grade}", host.name));
                }
            }
            Answer::Left => {}
            Answer::NotYet(reason) | Answer::Trouble(reason) | Answer::Hopeless(reason) => {
                missing(ctx, host, role, &reason).await;
                self.lacking.push(format!("{}: {reason}", host.name));
            }
        }
    }

    pub(super) fn end(self) -> StageEnd {
        if self.lacking.is_empty() {
            return StageEnd { gained: self.gained, ..StageEnd::done() };
        }
        const SHOWN: usize = 5;
        let more = self.lacking.len().saturating_sub(SHOWN);
        let mut reason = self.lacking[..self.lacking.len().min(SHOWN)].join("; ");
        if more > 0 {
            reason.push_str(&format!("; and {more} more"));
        }
        StageEnd { outcome: Outcome::Degraded, reason: Some(reason), retry: false, gained: self.gained }
    }
}

/// Records a set that did not come, and says so.
pub(super) async fn missing(ctx: &StageContext, host: &Host, role: Role, reason: &str) {
    let report = SetReport {
        set: SetId::first(host.name.clone(), ctx.night, role),
        fate: Fate::Missing,
        grade: None,
        from: None,
        bytes: 0,
        sha256: None,
        reason: Some(reason.to_owned()),
    };
    if let Err(error) = ctx.note(Step::Set(report)).await {
        tracing::error!("{}", chain(&error));
    }
    // A later look that finds nothing new is no news.
    if ctx.why != StartReason::MissingSets {
        ctx.tell(Event {
            peer: Some(host.name.clone()),
            role: Some(role),
            outcome: Some("missing"),
            reason: Some(reason.to_owned()),
            ..Event::new(
                Kind::SetMissing,
                Severity::Warning,
                format!("{} {role}: no set of tonight: {reason}", host.name),
            )
        });
    }
}
