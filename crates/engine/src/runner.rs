//! The night on one page: what each stage runs, and how its start and end are recorded.

use std::time::Instant;

use nightshift_core::audit::{Event, Kind, Severity};
use nightshift_core::chain;
use nightshift_core::outcome::Outcome;
use nightshift_core::record::{StartReason, Step};
use nightshift_core::role::Role;
use nightshift_core::stage::Stage;

use crate::context::{Ended, StageContext, StageEnd};
use crate::hooks;
use crate::stages::error::StageError;
use crate::stages::{
    collect_role, drill, mirror_masters, pack_archive, prune, pull, ship_archive, snapshot_etcd,
};

/// Runs a stage to its end. Its start is on disk before its first step, its end before it is reported.
pub async fn run(ctx: StageContext) -> Ended {
    let begun = Instant::now();
    let (stage, attempt, why) = (ctx.stage, ctx.attempt, ctx.why);
    if let Err(error) = ctx.note(Step::Started { stage, attempt, why }).await {
        return StageEnd::failed(chain(&error)).into();
    }
    report_start(&ctx);
    let Ended { end, beside } = with_hooks(&ctx).await;
    ctx.board.end(stage);
    let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let ended = Step::Ended { stage, attempt, outcome: end.outcome, reason: end.reason.clone(), duration_ms };
    if let Err(error) = ctx.note(ended).await {
        let what = format!("cannot record the end of {stage}");
        ctx.log(Event::failed(Kind::RecordFailed, what, chain(&error)));
    }
    report_end(&ctx, &end, duration_ms);
    Ended { end, beside }
}

/// A stage between its hooks. One that is stopped runs none after it: when it is resumed, they follow.
async fn with_hooks(ctx: &StageContext) -> Ended {
    let begun = async {
        let failed = match hooks::before(ctx).await {
            Ok(failed) => failed,
            Err(reason) => return (StageEnd::failed(reason).into(), Vec::new()),
        };
        (work(ctx).await.unwrap_or_else(|error| StageEnd::from(error).into()), failed)
    };
    let (Ended { end, beside }, mut failed) = tokio::select! {
        biased;
        ended = begun => ended,
        () = ctx.stop.requested() => return StageEnd {
            outcome: Outcome::Interrupted,
            reason: Some("stopped with the daemon; resumes if it starts before the night closes".to_owned()),
            retry: false,
            gained: false,
        }
        .into(),
    };
    if hooks::are_after(ctx) {
        tokio::select! {
            biased;
            () = ctx.stop.requested() => failed.push("stopped before the hooks after it had ended".to_owned()),
            more = hooks::after(ctx, &end) => failed.extend(more),
        }
    }
    Ended { end: hooks::degraded(end, &failed), beside }
}

/// The night, in its order.
async fn work(ctx: &StageContext) -> Result<Ended, StageError> {
    // An archive of an empty vault would be shipped as tonight's. What is in the outbox is shipped without the vault.
    if ctx.stage != Stage::ShipArchive {
        ctx.offload(|ctx| ctx.vault.ensure_mark()).await?;
    }
    let end = match ctx.stage {
        // Every etcd host streams a snapshot of its own member.
        Stage::SnapshotEtcd => snapshot_etcd::run(ctx).await,
        // Every node publishes its files.
        Stage::CollectNode => collect_role::run(ctx, Role::Node).await,
        // Every master pulls the etcd sets, then those of the nodes, and waits for late ones.
        Stage::PullEtcd => return pull::run(ctx, Role::Etcd).await,
        Stage::PullNodes => return pull::run(ctx, Role::Node).await,
        // Every master publishes its own files,
        Stage::CollectMaster => collect_role::run(ctx, Role::Master).await,
        // and pulls those of the other masters, with every other set that it does not have.
        Stage::MirrorMasters => return mirror_masters::run(ctx).await,
        // All sets go into one archive, and the archive to the remotes.
        Stage::PackArchive => pack_archive::run(ctx).await,
        Stage::ShipArchive => ship_archive::run(ctx).await,
        // One host restores a stored snapshot, and tests it.
        Stage::Drill => drill::run(ctx).await,
        // Retention removes old sets last.
        Stage::Prune => prune::run(ctx).await,
    };
    end.map(Ended::from)
}

fn report_start(ctx: &StageContext) {
    let (kind, how) = match ctx.why {
        StartReason::Due => (Kind::StageStarted, String::new()),
        StartReason::CaughtUp => (Kind::StageCaughtUp, " late (missed or interrupted earlier)".to_owned()),
        StartReason::Retry => (Kind::StageStarted, format!(" again (attempt {})", ctx.attempt)),
        StartReason::MissingSets => (Kind::StageStarted, " again (for missing sets)".to_owned()),
        StartReason::Repack => (Kind::StageStarted, " again (for late sets)".to_owned()),
        StartReason::Requested => (Kind::StageStarted, " (requested by an operator)".to_owned()),
    };
    ctx.log(Event::info(kind, format!("{} starting{how}", ctx.stage)));
}

fn report_end(ctx: &StageContext, end: &StageEnd, duration_ms: u64) {
    let severity = match end.outcome {
        Outcome::Done => Severity::Info,
        Outcome::Degraded | Outcome::Interrupted => Severity::Warning,
        Outcome::Failed | Outcome::Missed => Severity::Error,
    };
    let reason = end.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    ctx.log(Event {
        duration_ms: Some(duration_ms),
        outcome: Some(end.outcome.as_str()),
        reason: end.reason.clone(),
        ..Event::new(Kind::StageFinished, severity, format!("{} {}{reason}", ctx.stage, end.outcome))
    });
}
