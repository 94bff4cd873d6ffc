//! What an operator should know beside the results of nights.

use std::collections::BTreeSet;

use jiff::Timestamp;
use nightshift_core::chain;
use nightshift_core::hook::Occasion;
use nightshift_core::next_night::SkippedNight;
use nightshift_core::night::Night;
use nightshift_core::reason::{Reason, ReasonCode};
use nightshift_core::record::Record;
use nightshift_core::settings::Settings;
use nightshift_core::units::local_time;
use nightshift_store::records::{Past, Records};
use nightshift_store::{StoreError, Vault};

use super::full;
use crate::notify::queue::Queue;
use crate::notify::unreadable;

pub(super) fn of_host(
    settings: &Settings,
    records: &Records,
    past: &Past,
    newest: Option<&Record>,
    now: Timestamp,
) -> BTreeSet<Reason> {
    let mut warnings: BTreeSet<Reason> = past.unreadable.iter().map(not_read).collect();
    warnings.extend(from_the_future(settings, &past.future));
    if let Err(error @ StoreError::LostVault { .. }) = Vault::of(settings).check_mark() {
        warnings.insert(Reason::new(ReasonCode::VaultLost, chain(&error)));
    }
    warnings.extend(full(settings).into_iter().map(|text| Reason::new(ReasonCode::VaultFull, text)));
    warnings.extend(undelivered(settings));
    warnings.extend(set_aside(settings));
    let skipped = skipped(settings, records, now, |night| past.nights.contains(&night));
    warnings.extend(skipped.map(|it| Reason::new(ReasonCode::NightSkipped, it.text(&settings.window.zone))));
    warnings.extend(newest.into_iter().flat_map(failed_after));
    warnings.extend(newest.and_then(refused));
    warnings
}

pub(super) fn not_read(error: &StoreError) -> Reason {
    Reason::new(ReasonCode::RecordUnreadable, chain(error))
}

fn from_the_future(settings: &Settings, nights: &[Night]) -> Option<Reason> {
    let newest = nights.first()?;
    let others = if nights.len() > 1 { format!(", and {} more", nights.len() - 1) } else { String::new() };
    let text = format!(
        "the record of night {newest}{others} is more than 36 h in the future: the clock was wrong when it was written, or is wrong now; if it is right now, move the file out of {}",
        settings.paths.records().display()
    );
    Some(Reason::new(ReasonCode::RecordInFuture, text))
}

/// The night of the schedule that does not open: the next one; or the one that would be open now, if its record was closed before.
pub fn skipped(
    settings: &Settings,
    records: &Records,
    now: Timestamp,
    is_recorded: impl Fn(Night) -> bool,
) -> Option<SkippedNight> {
    let window = &settings.window;
    let current = window.open_at(now).filter(|date| {
        let closed = records.read(Night::of(*date)).ok().flatten().and_then(|record| record.closed);
        closed.is_some_and(|closed| closed.at < window.opening(*date))
    });
    SkippedNight::of(settings, current.unwrap_or_else(|| window.next_after(now)), now, is_recorded)
}

/// The targets whose last notice was given up, or not accepted for all. One that arrives settles it.
fn undelivered(settings: &Settings) -> impl Iterator<Item = Reason> {
    settings.notify.iter().flat_map(|target| {
        let name = &target.name;
        // Without permission to read the state, nothing is known of it.
        let state = Queue::of(settings, name).state().unwrap_or_default();
        let lost = state.given_up.map(|lost| {
            let at = local_time(lost.at, &settings.window.zone);
            format!(
                "target {name}: a notification was given up at {at} ({}): {}; try `nightshift notify --test {name}`",
                lost.title, lost.reason
            )
        });
        let refused = state.refused.map(|refused| {
            format!(
                "target {name}: the last notification was not accepted for {refused}; it is not sent there again: correct `to` and run `nightshift reload`, or try `nightshift notify --test {name}`"
            )
        });
        let texts = lost.into_iter().chain(refused);
        texts.map(|text| Reason::new(ReasonCode::NoticeGivenUp, text))
    })
}

/// The files of notifications that could not be read.
fn set_aside(settings: &Settings) -> Vec<Reason> {
    let text = |path: &std::path::PathBuf| {
        format!(
            "{} could not be read and was set aside, so a notification may be lost; look at the file, then remove it",
            path.display()
        )
    };
    let left = unreadable::left(settings);
    left.iter().map(|path| Reason::new(ReasonCode::NoticeUnreadable, text(path))).collect()
}

/// The hooks after a night that failed: they change nothing of its result.
pub(super) fn failed_after(record: &Record) -> impl Iterator<Item = Reason> + use<'_> {
    let night = record.night;
    let failed = record.failed_hooks(|at| at == Occasion::AFTER_NIGHT);
    failed.map(move |reason| Reason::new(ReasonCode::HookFailed, format!("after night {night}: {reason}")))
}

/// The plan that this host made of the night is refused. The night itself can be complete: its copies may all be good.
fn refused(record: &Record) -> Option<Reason> {
    let plan = record.restorable.as_ref().filter(|plan| !plan.is_restorable())?;
    let text = format!(
        "night {} cannot be restored by `nightshift restore`: {}",
        record.night,
        plan.reasons.summary()
    );
    Some(Reason::new(ReasonCode::RestoreRefused, text))
}
