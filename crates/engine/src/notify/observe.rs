//! Finds what has changed on this host since the last look, and queues a notice for each target that wants it.

use jiff::Timestamp;
use nightshift_core::notify::{Known, Notice, Observed, changes};
use nightshift_core::record::Record;
use nightshift_core::settings::Settings;
use nightshift_core::status::Report;
use nightshift_core::summary::Judgement;
use nightshift_store::records::Records;
use nightshift_store::{StoreError, create_directories, read_json, remove_file, write_json};

use super::queue::{MAX_LEN, Queue, Queued, sweep};
use crate::status::{is_settled, judgement};

/// How many nights are compared with what was reported: a daemon that was down for some nights reports what they became.
const MAX_NIGHTS: usize = 4;

/// Queues the notices that follow from the report and the records. Returns those that had to leave the queue, by target.
pub fn observe(settings: &Settings, report: &Report) -> Result<Vec<(Queue, Queued)>, StoreError> {
    let directory = settings.paths.notices();
    let known_file = directory.join("known.json");
    sweep(settings)?;
    if settings.notify.is_empty() {
        // What happens meanwhile is not news when a target is added later.
        remove_file(&known_file)?;
        return Ok(Vec::new());
    }
    create_directories(&directory)?;
    let known: Option<Known> = read_json(&known_file, MAX_LEN)?;
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
        return Ok(Vec::new());
    }
    let dropped = put_all(settings, &notices, now)?;
    write_json(&known_file, &fresh)?;
    Ok(dropped)
}

fn put_all(
    settings: &Settings,
    notices: &[Notice],
    now: Timestamp,
) -> Result<Vec<(Queue, Queued)>, StoreError> {
    let mut dropped = Vec::new();
    for target in &settings.notify {
        let queue = Queue::of(settings, &target.name);
        let wanted = notices.iter().filter(|notice| target.wants(notice));
        for (number, notice) in wanted.enumerate() {
            dropped.extend(queue.put(notice, number, now)?.into_iter().map(|queued| (queue.clone(), queued)));
        }
    }
    Ok(dropped)
}

/// The newest nights, the oldest first. One that cannot be read is a warning of the status.
fn nights(settings: &Settings, now: Timestamp) -> Result<Vec<(Record, Option<Judgement>)>, StoreError> {
    let records = Records::new(settings.paths.records());
    let past = records.past(now)?;
    let known: Vec<_> = past.nights.iter().filter(|night| !past.future.contains(night)).copied().collect();
    let newest = &known[known.len().saturating_sub(MAX_NIGHTS)..];
    let read = newest.iter().filter_map(|night| records.read(*night).ok().flatten());
    let judged = |record: Record| {
        let result = is_settled(&record).then(|| judgement(&record));
        (record, result)
    };
    Ok(read.map(judged).collect())
}
