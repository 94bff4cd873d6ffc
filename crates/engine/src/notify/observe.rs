//! Finds what has changed on this host since the last look, and queues a notice for each target that wants it.

use jiff::Timestamp;
use nightshift_core::name::TargetName;
use nightshift_core::notify::{Known, Notice, Observed, changes};
use nightshift_core::record::Record;
use nightshift_core::settings::Settings;
use nightshift_core::status::Report;
use nightshift_core::summary::Judgement;
use nightshift_store::records::Records;
use nightshift_store::{StoreError, create_directories, prepare_json, read_json, remove_file};

use super::queue::{Queue, Queued, sweep};
use super::unreadable::set_aside;
use crate::status::judgement;

/// How many nights are compared with what was reported: a daemon that was down for some nights reports what they became.
const MAX_NIGHTS: usize = 4;
/// Of what is known, in bytes: up to 20,000 hosts, each with a few conditions of a hundred bytes.
const MAX_KNOWN_LEN: u64 = 32 << 20;

/// What the journal reports of a look.
#[derive(Debug, Default)]
pub struct Found {
    /// Notices that had to leave the queue of a target.
    pub dropped: Vec<(Queue, Queued)>,
    /// Files that were set aside, a line for each.
    pub unreadable: Vec<String>,
    /// Targets whose queue cannot be written.
    pub failed: Vec<(TargetName, StoreError)>,
}

/// Queues the notices that follow from the report and the records.
pub fn observe(settings: &Settings, report: &Report) -> Result<Found, StoreError> {
    let directory = settings.paths.notices();
    let known_file = directory.join("known.json");
    let mut found = Found { dropped: sweep(settings)?, ..Found::default() };
    if settings.notify.is_empty() {
        // What happens meanwhile is not news when a target is added later.
        remove_file(&known_file)?;
        return Ok(found);
    }
    create_directories(&directory)?;
    found.unreadable.extend(set_aside::<Known>(&known_file, MAX_KNOWN_LEN)?);
    let known: Option<Known> = read_json(&known_file, MAX_KNOWN_LEN)?;
    let now = Timestamp::now();
    let nights = nights(settings, now)?;
    let observed = Observed {
        cluster: &settings.cluster,
        host: &settings.this,
        now,
        nights: &nights,
        stale: report.stale.as_deref(),
        vault: report.vault,
        min_free: settings.vault.min_free,
    };
    let (fresh, notices) = changes(known.as_ref(), &observed);
    if known.as_ref() == Some(&fresh) {
        return Ok(found);
    }
    // On a full disk nothing is queued that would be queued again at the next look.
    let prepared = prepare_json(&known_file, &fresh)?;
    put_all(settings, &notices, now, &mut found)?;
    prepared.put_in_place()?;
    Ok(found)
}

/// A target whose queue cannot be written does not stop the others. If none can be, the changes stay news.
fn put_all(
    settings: &Settings,
    notices: &[Notice],
    now: Timestamp,
    found: &mut Found,
) -> Result<(), StoreError> {
    for target in &settings.notify {
        let wanted: Vec<&Notice> = notices.iter().filter(|notice| target.wants(notice)).collect();
        if let Err(error) = put(&Queue::of(settings, &target.name), &wanted, now, found) {
            found.failed.push((target.name.clone(), error));
        }
    }
    if found.failed.len() < settings.notify.len() {
        return Ok(());
    }
    found.failed.pop().map_or(Ok(()), |(_, error)| Err(error))
}

fn put(queue: &Queue, notices: &[&Notice], now: Timestamp, found: &mut Found) -> Result<(), StoreError> {
    found.unreadable.extend(queue.set_aside_unreadable()?);
    for (number, notice) in notices.iter().enumerate() {
        let dropped = queue.put(notice, number, now)?;
        found.dropped.extend(dropped.into_iter().map(|queued| (queue.clone(), queued)));
    }
    Ok(())
}

/// The newest nights, the oldest first. One that cannot be read is a warning of the status.
fn nights(settings: &Settings, now: Timestamp) -> Result<Vec<(Record, Option<Judgement>)>, StoreError> {
    let records = Records::new(settings.paths.records());
    let past = records.past(now)?;
    let known: Vec<_> = past.nights.iter().filter(|night| !past.future.contains(night)).copied().collect();
    let newest = &known[known.len().saturating_sub(MAX_NIGHTS)..];
    let read = newest.iter().filter_map(|night| records.read(*night).ok().flatten());
    let judged = |record: Record| {
        let result = record.is_settled().then(|| judgement(&record));
        (record, result)
    };
    Ok(read.map(judged).collect())
}
