//! The hooks after a night. Which of them are due is in the record before the night closes, so they also run if the daemon ends before
//! they do: at least once, and each of them again until its end is in the record.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::hook::{Ending, Hook, Occasion};
use nightshift_core::night::Night;
use nightshift_core::record::{Record, Step};
use nightshift_core::settings::Settings;
use nightshift_store::offload;
use nightshift_store::records::Records;

use crate::audit::Audit;
use crate::{hooks, report};

/// The hooks after a night that closed longer ago do not run any more.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);
/// How many nights are searched for hooks that are due, the newest first.
const MAX_NIGHTS: usize = 4;

/// What an earlier process left.
pub(super) async fn left(settings: &Arc<Settings>) -> Vec<Night> {
    if hooks::at(settings, Occasion::AFTER_NIGHT).next().is_none() {
        return Vec::new();
    }
    let settings = Arc::clone(settings);
    offload::run(move || recorded(&settings)).await
}

/// The nights with hooks that are due. A record that cannot be read is a warning of the status.
fn recorded(settings: &Settings) -> Vec<Night> {
    let (records, now) = (Records::new(settings.paths.records()), Timestamp::now());
    let nights = records.nights().unwrap_or_default().into_iter().rev().take(MAX_NIGHTS);
    let read = nights.filter_map(|night| records.read(night).ok().flatten());
    let is_recent = |record: &Record| {
        let closed = record.closed.as_ref();
        closed.is_some_and(|closed| now.duration_since(closed.at) < MAX_AGE && closed.at <= now)
    };
    read.filter(|record| is_recent(record) && due(settings, record).next().is_some())
        .map(|record| record.night)
        .collect()
}

/// The hooks that were due when the night closed and have not ended. One that left the config is not run any more.
fn due<'h>(settings: &'h Settings, record: &'h Record) -> impl Iterator<Item = &'h Hook> {
    let is_due = move |hook: &&Hook| {
        record.hooks.iter().any(|it| it.name == hook.name && it.at == hook.at && it.outcome.is_none())
    };
    hooks::at(settings, Occasion::AFTER_NIGHT).filter(is_due)
}

pub(super) async fn run(settings: Arc<Settings>, night: Night, audit: Audit) {
    let records = Records::new(settings.paths.records());
    let reading = records.clone();
    let record = match offload::run(move || reading.read(night)).await {
        Ok(Some(record)) => record,
        Ok(None) => return,
        Err(error) => {
            let what = format!("the hooks after night {night} do not run, because its record cannot be read");
            return audit.emit(&Event::failed(Kind::OperationFailed, what, chain(&error)));
        }
    };
    let Some(verdict) = record.closed.as_ref().map(|closed| closed.verdict) else { return };
    for hook in due(&settings, &record) {
        let report = hooks::unit::run(&settings, hook, night, Some(Ending::Night(verdict))).await;
        if let Some(event) = report::hook(&report) {
            audit.emit(&Event { night: Some(night), ..event });
        }
        let records = records.clone();
        if let Err(error) = offload::run(move || records.amend(night, Step::Hook(report))).await {
            let what = format!("cannot record the end of hook {} after night {night}", hook.name);
            let event = Event::failed(Kind::RecordFailed, what, chain(&error));
            audit.emit(&Event { night: Some(night), ..event });
        }
    }
}
