//! Sends the notices of one target, one after the other, so that a night's start arrives before its end. A target that does not
//! respond delays only its own notices.

use jiff::{SignedDuration, Timestamp};
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::notify::{Request, Target, reasons};
use nightshift_core::settings::Settings;
use nightshift_store::{StoreError, offload};

use super::queue::{Queue, Queued};
use super::unit::{UNIT, outcome, send};
use crate::audit::Audit;

/// If the queue itself cannot be read or written, it is tried again after this.
const STORE_RETRY: SignedDuration = SignedDuration::from_mins(5);

/// Sends what is due, and returns when the next notice is.
pub async fn deliver(settings: &Settings, target: &Target, audit: &Audit) -> Option<Timestamp> {
    let queue = Queue::of(settings, &target.name);
    match send_all(settings, target, &queue, audit).await {
        Ok(next) => next,
        Err(error) => {
            let what = format!("target {}: its queue of notices cannot be used", target.name);
            audit.emit(&Event::degraded(Kind::OperationFailed, what, chain(&error)));
            Some(Timestamp::now() + STORE_RETRY)
        }
    }
}

async fn send_all(
    settings: &Settings,
    target: &Target,
    queue: &Queue,
    audit: &Audit,
) -> Result<Option<Timestamp>, StoreError> {
    let socket = UNIT.socket(settings);
    let all = queue.clone();
    for line in offload::run(move || all.set_aside_unreadable()).await? {
        report_unreadable(line, audit);
    }
    loop {
        let first = queue.clone();
        let Some((path, queued)) = offload::run(move || first.first()).await? else { return Ok(None) };
        let now = Timestamp::now();
        let queued = queued.not_ahead_of(now);
        let waited: std::time::Duration = now.duration_since(queued.since).try_into().unwrap_or_default();
        // One that waited behind others, or while the host was off, has an attempt of its own.
        if waited > target.give_up && queued.attempts > 0 {
            report_given_up(queue, &queued, audit);
            let queue = queue.clone();
            offload::run(move || queue.give_up(&path, &queued, now)).await?;
            continue;
        }
        // A clock that was set back must not keep a notice for years.
        let wait = queued.next.duration_since(now);
        if wait.is_positive() && wait.unsigned_abs() < target.give_up {
            return Ok(Some(queued.next));
        }
        let request =
            Request { target: target.name.clone(), notice: queued.notice.clone(), only: queued.only.clone() };
        let sent = outcome(&socket, send(&socket, &request).await);
        let (queue, now) = (queue.clone(), Timestamp::now());
        match sent {
            Ok(others) if !others.later.is_empty() => {
                let reason = reasons(&others.later).unwrap_or_default();
                report_failed(&queue, &queued, &reason, audit);
                offload::run(move || queue.sent_in_part(&path, queued, &others, reason, now)).await?;
            }
            Ok(others) => {
                let refused = queued.refused_with(&others);
                report_refused(&queue, &queued, refused.as_deref(), audit);
                offload::run(move || queue.sent(&path, now, refused)).await?;
            }
            Err(reason) => {
                report_failed(&queue, &queued, &reason, audit);
                let queued = offload::run(move || queue.failed(&path, queued, reason, now)).await?;
                return Ok(Some(queued.next));
            }
        }
    }
}

/// A file that cannot be read may have been a notice.
pub fn report_unreadable(line: String, audit: &Audit) {
    let what = "a file of notifications was set aside; a notification may be lost";
    audit.emit(&Event::degraded(Kind::OperationFailed, what, line));
}

/// The first failure of a notice is reported, and then that it was given up.
fn report_failed(queue: &Queue, queued: &Queued, reason: &str, audit: &Audit) {
    if queued.attempts == 0 {
        let what = format!("target {}: \"{}\" is not sent yet", queue.target(), queued.notice.title);
        audit.emit(&Event::degraded(Kind::OperationFailed, what, reason));
    }
}

/// It is not sent again to those that did not accept it: the others would get it twice.
fn report_refused(queue: &Queue, queued: &Queued, refused: Option<&str>, audit: &Audit) {
    if let Some(refused) = refused {
        let what = format!("target {}: \"{}\" was not accepted for all", queue.target(), queued.notice.title);
        audit.emit(&Event::degraded(Kind::OperationFailed, what, refused));
    }
}

pub fn report_given_up(queue: &Queue, queued: &Queued, audit: &Audit) {
    let what = format!("target {}: \"{}\" was given up", queue.target(), queued.notice.title);
    audit.emit(&Event {
        night: queued.notice.night,
        ..Event::failed(Kind::NoticeGivenUp, what, queued.reason())
    });
}
