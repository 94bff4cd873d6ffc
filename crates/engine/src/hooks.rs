//! Hooks: an operator's commands around a stage and the night, run by a unit of their own (nightshift-hook@.service), which reads them
//! from root's config. A failed hook prevents no backup, unless it is required.

pub mod unit;

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::hook::{Ending, Hook, Occasion};
use nightshift_core::outcome::Outcome;
use nightshift_core::record::{HookReport, Step};
use nightshift_core::settings::Settings;

use crate::context::{StageContext, StageEnd};

/// The hooks of an occasion, in their order.
pub fn at(settings: &Settings, at: Occasion) -> impl Iterator<Item = &Hook> {
    settings.hooks.iter().filter(move |hook| hook.at == at)
}

/// Runs the hooks before a stage, and before the night those that did not run yet. Returns what failed; `Err` if the stage must not
/// run.
pub async fn before(ctx: &StageContext) -> Result<Vec<String>, String> {
    before_night(ctx).await?;
    let mut failed = Vec::new();
    for hook in at(&ctx.settings, Occasion::before(ctx.stage)) {
        let report = run_in_stage(ctx, hook, None).await;
        match report.failure() {
            Some(reason) if hook.required => return Err(reason),
            reason => failed.extend(reason),
        }
    }
    Ok(failed)
}

/// The first stage runs the hooks before the night; the others wait for them. That one of them failed is in the record, and degrades
/// the night instead of this stage. A required one that failed is run again by the next stage, or the next attempt.
async fn before_night(ctx: &StageContext) -> Result<(), String> {
    if at(&ctx.settings, Occasion::BEFORE_NIGHT).next().is_none() {
        return Ok(());
    }
    let _turn = ctx.before_night.lock().await;
    for hook in at(&ctx.settings, Occasion::BEFORE_NIGHT) {
        let known = ctx.record.look(|record| {
            record?.hooks.iter().find(|report| report.name == hook.name && report.at == hook.at).cloned()
        });
        if known.is_some_and(|report| !(hook.required && report.has_failed())) {
            continue;
        }
        let failure = run_in_stage(ctx, hook, None).await.failure();
        if let Some(reason) = failure.filter(|_| hook.required) {
            return Err(reason);
        }
    }
    Ok(())
}

pub fn are_after(ctx: &StageContext) -> bool {
    at(&ctx.settings, Occasion::after(ctx.stage)).next().is_some()
}

/// Runs the hooks after a stage. Returns what failed.
pub async fn after(ctx: &StageContext, end: &StageEnd) -> Vec<String> {
    let mut failed = Vec::new();
    for hook in at(&ctx.settings, Occasion::after(ctx.stage)) {
        failed.extend(run_in_stage(ctx, hook, Some(Ending::Stage(end.outcome))).await.failure());
    }
    failed
}

/// The daemon's stop leaves a hook a grace period, as other work that starts from the beginning.
async fn run_in_stage(ctx: &StageContext, hook: &Hook, outcome: Option<Ending>) -> HookReport {
    let _work = ctx.stop.work().await;
    let report = unit::run(&ctx.settings, hook, ctx.night, outcome).await;
    if let Err(error) = ctx.report(Step::Hook(report.clone())).await {
        let what = format!("cannot record the end of hook {}", hook.name);
        ctx.log(Event::failed(Kind::RecordFailed, what, chain(&error)));
    }
    report
}

/// A stage with the failed hooks among its reasons. One that failed stays failed.
pub fn degraded(end: StageEnd, failed: &[String]) -> StageEnd {
    if failed.is_empty() {
        return end;
    }
    let reasons: Vec<String> = end.reason.iter().chain(failed).cloned().collect();
    let outcome = if end.outcome == Outcome::Done { Outcome::Degraded } else { end.outcome };
    StageEnd { outcome, reason: Some(reasons.join("; ")), ..end }
}
