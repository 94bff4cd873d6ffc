//! Another host's turn: each master waits for its proof, and keeps a copy of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::inventory::Host;
use nightshift_core::outcome::Outcome;
use nightshift_core::proof::DrillVerdict;
use nightshift_core::record::ProofReport;
use nightshift_core::set_path::SetId;
use nightshift_core::stage::Stage;
use nightshift_peers::{Credentials, PeerVault};
use nightshift_store::StoreError;

use crate::context::{StageContext, StageEnd};
use crate::stages::error::StageError;
use crate::stages::proofs::{self, Wanted};
use crate::stages::queue::{Polled, Queue};
use crate::stages::stored_sets;

/// The wait before the prover is polled again; it grows to ten times this.
const INITIAL_BACKOFF: Duration = Duration::from_secs(2);

pub async fn run(ctx: &StageContext, prover: &Host) -> Result<StageEnd, StageError> {
    let credentials = Credentials::of_peers(&ctx.settings).await?;
    let mut queue = Queue::new(ctx, vec![Arc::new(prover.clone())]).with_backoff(INITIAL_BACKOFF);
    let credentials = &credentials;
    let poll = |host: Arc<Host>| {
        async move { poll(ctx, &host, credentials).await.unwrap_or_else(Polled::from) }.boxed()
    };
    let reason = match queue.next(&poll).await {
        Some((_, Ok(()))) => return Ok(StageEnd::done()),
        Some((_, Err(reason))) => reason,
        None => "it did not respond in time".to_owned(),
    };
    let reason = format!("no proof from {}, whose turn it was: {reason}", prover.name);
    ctx.log(Event {
        peer: Some(prover.name.clone()),
        ..Event::degraded(Kind::NotProved, "tonight's etcd sets are verified, not proved", &*reason)
    });
    Ok(StageEnd::degraded(reason))
}

async fn poll(
    ctx: &StageContext,
    prover: &Host,
    credentials: &Credentials,
) -> Result<Polled<()>, StageError> {
    let peer = PeerVault::open(credentials, prover).await?;
    // Read first: what it reports as ended is published before.
    let hint = peer.hint().await;
    let sets = stored_sets::etcd_sets(ctx).await?;
    for set in &sets {
        proofs::copy(ctx, &peer, set, Wanted::Drills).await?;
    }
    peer.close().await;
    let mut failed = Vec::new();
    for report in reports_by(ctx, prover, sets).await? {
        proofs::report_once(ctx, report.clone()).await?;
        if report.verdict == DrillVerdict::Proved {
            return Ok(Polled::Ready(()));
        }
        failed.push(format!("{} does not restore", report.set));
    }
    Ok(match hint.as_ref().and_then(|hint| hint.stage(ctx.night, Stage::Drill)) {
        Some(_) if !failed.is_empty() => Polled::GiveUp(failed.join("; ")),
        Some(ended) if ended.outcome == Outcome::Done => {
            Polled::GiveUp("it proved a set that is not stored here".to_owned())
        }
        Some(ended) => Polled::GiveUp(format!("it reports: {ended}")),
        None => Polled::Retry("it has not published one yet".to_owned()),
    })
}

/// The prover's drills of these sets.
async fn reports_by(
    ctx: &StageContext,
    prover: &Host,
    sets: Vec<SetId>,
) -> Result<Vec<ProofReport>, StoreError> {
    let prover = prover.name.clone();
    ctx.offload(move |ctx| {
        let mut reports = Vec::new();
        for set in sets {
            let proofs = ctx.vault.proofs(&set);
            reports.extend(proofs.iter().filter(|proof| proof.by == prover).filter_map(ProofReport::of));
        }
        Ok(reports)
    })
    .await
}
