//! Another host's turn: each master waits for its proof, and keeps a copy of it.

use std::time::Duration;

use futures_util::FutureExt as _;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::inventory::Host;
use nightshift_core::outcome::{Grade, Outcome};
use nightshift_core::record::ProofReport;
use nightshift_core::stage::Stage;

use super::told;
use crate::context::{StageContext, StageEnd};
use crate::stages::held;
use crate::stages::pull::{Answer, Queue, Source, copy_proofs, hint_of};
use nightshift_peers as peers;
use nightshift_peers::{Credentials, ReachError};
use nightshift_store::StoreError;
use nightshift_store::offload;

/// The pause before the prover is asked again; it grows to ten times this.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub async fn run(ctx: &StageContext, prover: &Host) -> StageEnd {
    let credentials = match Credentials::of_peers(&ctx.settings).await {
        Ok(credentials) => credentials,
        Err(error) => return StageEnd::broken(chain(&error)),
    };
    let mut queue = Queue::new(ctx, vec![prover]).paced(FIRST_PAUSE);
    let look = |host| {
        look(ctx, host, &credentials)
            .map(|looked| match looked {
                Ok(answer) => answer,
                Err(Error::Reach(error)) if error.is_permanent() => Answer::Hopeless(chain(&error)),
                Err(error) => Answer::Trouble(chain(&error)),
            })
            .boxed()
    };
    let reason = match queue.next(&look).await {
        None | Some((_, Answer::Held { .. } | Answer::Left)) => return StageEnd::done(),
        Some((_, Answer::NotYet(reason) | Answer::Trouble(reason) | Answer::Hopeless(reason))) => reason,
    };
    let reason = format!("no proof of {}, whose turn it was: {reason}", prover.name);
    ctx.tell(Event {
        peer: Some(prover.name.clone()),
        reason: Some(reason.clone()),
        ..Event::warning(Kind::NotProved, format!("tonight's etcd sets are verified, not proved: {reason}"))
    });
    StageEnd::degraded(reason)
}

/// One look into the prover's vault.
async fn look(ctx: &StageContext, prover: &Host, credentials: &Credentials) -> Result<Answer, Error> {
    let (session, sftp) = credentials.open_sftp(&peers::endpoint(prover)).await?;
    let vault = prover.vault.to_string_lossy().into_owned();
    let source =
        Source { sftp: &sftp, vault: &vault, host: &prover.name, known_hosts: &credentials.known_hosts };
    // Read first: what it says that it has ended, it has published.
    let hint = hint_of(source).await;
    for set in held::etcd_sets(ctx).await? {
        copy_proofs(ctx, source, &set).await?;
    }
    session.close().await;
    let reports = proved_by(ctx, prover).await?;
    let mut unfit = Vec::new();
    for report in reports {
        told::known(ctx, report.clone()).await?;
        if report.verdict == nightshift_core::proof::DrillVerdict::Proved {
            return Ok(Answer::Held { grade: Grade::Good, fresh: true });
        }
        unfit.push(format!("{} does not restore", report.set));
    }
    let ended = hint
        .filter(|hint| hint.night == Some(ctx.night))
        .and_then(|hint| hint.stages.get(&Stage::Drill).cloned());
    Ok(match ended {
        Some(_) if !unfit.is_empty() => Answer::Hopeless(unfit.join("; ")),
        Some(told) if told.outcome == Outcome::Done => {
            Answer::Hopeless("what it proved is not held here".to_owned())
        }
        Some(told) => Answer::Hopeless(format!(
            "it reports: {}{}",
            told.outcome,
            told.reason.map(|reason| format!(": {reason}")).unwrap_or_default()
        )),
        None => Answer::NotYet("it has not published one".to_owned()),
    })
}

/// What the prover has stated of them.
async fn proved_by(ctx: &StageContext, prover: &Host) -> Result<Vec<ProofReport>, StoreError> {
    let sets = held::etcd_sets(ctx).await?;
    let (vault, prover) = (ctx.vault.clone(), prover.name.clone());
    offload::run(move || {
        let mut reports = Vec::new();
        for set in sets {
            let proofs = vault.proofs(&set)?;
            reports.extend(proofs.iter().filter(|proof| proof.by == prover).filter_map(ProofReport::of));
        }
        Ok(reports)
    })
    .await
}
