//! The queue: one file for each notice and target, in the order in which they are sent, and what is known of the target.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::backoff;
use nightshift_core::name::TargetName;
use nightshift_core::notify::{Exceptions, Notice, reasons};
use nightshift_core::settings::Settings;
use nightshift_store::{
    StoreError, create_directories, list, read_json, remove_file, remove_tree, write_json,
};
use serde::{Deserialize, Serialize};

use super::unreadable::{MAX_LEN, set_aside};

/// More waiting notices of one target are given up, the oldest first.
const MAX_WAITING: usize = 200;
/// The delay before the first retry. It doubles with each one, up to ten times this.
const BACKOFF: Duration = Duration::from_secs(30);

/// The state of a target, in this file of its directory.
const STATE: &str = "state.json";

/// A notice that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    pub notice: Notice,
    pub since: Timestamp,
    #[serde(default)]
    pub attempts: u32,
    /// Not before then.
    pub next: Timestamp,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The recipients that do not have it yet, if the others have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// For whom the receiver did not accept it in earlier attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Queued {
    /// One that was queued under a clock that was ahead waits since now, so that it is given up in its time, too. A failed attempt stores that.
    pub fn not_ahead_of(self, now: Timestamp) -> Self {
        Self { since: self.since.min(now), ..self }
    }

    /// For whom the receiver has not accepted it, this time or before.
    pub fn refused_with(&self, others: &Exceptions) -> Option<String> {
        let lines: Vec<_> = self.refused.iter().cloned().chain(reasons(&others.refused)).collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    /// After another attempt that did not succeed for all.
    fn after_attempt(self, reason: String, now: Timestamp) -> Self {
        let attempts = self.attempts.saturating_add(1);
        let delay = backoff::delay(BACKOFF, attempts, &self.notice.id);
        let next = now.checked_add(delay).unwrap_or(Timestamp::MAX);
        Self { attempts, next, reason: Some(reason), ..self }
    }

    /// Why it has not arrived.
    pub fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or("no attempt was made in time")
    }
}

/// What is known of a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetState {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// For whom the receiver did not accept that notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The last notice that was given up after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    pub at: Timestamp,
    pub title: String,
    pub reason: String,
}

/// The queue of one target.
#[derive(Debug, Clone)]
pub struct Queue {
    directory: PathBuf,
    target: TargetName,
}

impl Queue {
    pub fn of(settings: &Settings, target: &TargetName) -> Self {
        Self { directory: settings.paths.notices().join(target.as_str()), target: target.clone() }
    }

    /// Adds a notice as the last one, unless it waits already: a crash may have come between a notice and the note that it was made.
    /// Returns the notices that this leaves no space for.
    pub fn put(&self, notice: &Notice, number: usize, now: Timestamp) -> Result<Vec<Queued>, StoreError> {
        create_directories(&self.directory)?;
        let waiting = self.files()?;
        let is_same = |path: &PathBuf| {
            path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem.ends_with(&notice.id))
        };
        if waiting.iter().any(is_same) {
            return Ok(Vec::new());
        }
        let queued = Queued {
            notice: notice.clone(),
            since: now,
            attempts: 0,
            next: now,
            reason: None,
            only: Vec::new(),
            refused: None,
        };
        let name = format!("{:014}-{number:03}-{}.json", now.as_millisecond(), notice.id);
        write_json(&self.directory.join(name), &queued)?;
        let surplus = (waiting.len() + 1).saturating_sub(MAX_WAITING);
        let mut dropped = Vec::new();
        for path in &waiting[..surplus.min(waiting.len())] {
            match read_json::<Queued>(path, MAX_LEN)? {
                Some(queued) => {
                    let reason = Some(format!("more than {MAX_WAITING} notices wait for this target"));
                    let queued = Queued { reason, ..queued };
                    self.give_up(path, &queued, now)?;
                    dropped.push(queued);
                }
                None => remove_file(path)?,
            }
        }
        Ok(dropped)
    }

    /// Sets files aside that cannot be read. Returns a line for each.
    pub fn set_aside_unreadable(&self) -> Result<Vec<String>, StoreError> {
        let mut lines = Vec::new();
        for path in self.files()? {
            lines.extend(set_aside::<Queued>(&path, MAX_LEN)?);
        }
        lines.extend(set_aside::<TargetState>(&self.directory.join(STATE), MAX_LEN)?);
        Ok(lines)
    }

    /// The notice to send next. One that waits for some of its recipients delays no other notice.
    pub fn first(&self) -> Result<Option<(PathBuf, Queued)>, StoreError> {
        let mut in_part: Option<(PathBuf, Queued)> = None;
        for path in self.files()? {
            let Some(queued) = read_json::<Queued>(&path, MAX_LEN)? else { continue };
            if queued.only.is_empty() {
                return Ok(Some((path, queued)));
            }
            if in_part.as_ref().is_none_or(|(_, earliest)| queued.next < earliest.next) {
                in_part = Some((path, queued));
            }
        }
        Ok(in_part)
    }

    pub fn waiting(&self) -> Result<usize, StoreError> {
        Ok(self.files()?.len())
    }

    /// The receiver has the notice, but did not accept it for these.
    pub fn sent(&self, path: &Path, now: Timestamp, refused: Option<String>) -> Result<(), StoreError> {
        // First, because a full disk does not prevent it: the receiver would get the notice again and again.
        remove_file(path)?;
        self.arrived(now, refused)
    }

    /// A notice or a test has arrived, so what was given up before does not matter any more.
    pub fn arrived(&self, now: Timestamp, refused: Option<String>) -> Result<(), StoreError> {
        create_directories(&self.directory)?;
        self.write_state(&TargetState { last_success: Some(now), refused, given_up: None })
    }

    /// An attempt failed; returns what is known of the notice now.
    pub fn failed(
        &self,
        path: &Path,
        queued: Queued,
        reason: String,
        now: Timestamp,
    ) -> Result<Queued, StoreError> {
        let queued = queued.after_attempt(reason, now);
        write_json(path, &queued)?;
        Ok(queued)
    }

    /// The receiver has the notice, but for some of the recipients a later attempt may succeed.
    pub fn sent_in_part(
        &self,
        path: &Path,
        queued: Queued,
        others: &Exceptions,
        reason: String,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let only = others.later.iter().map(|exception| exception.to.clone()).collect();
        let refused = queued.refused_with(others);
        let queued = Queued { only, refused, ..queued.after_attempt(reason, now) };
        // On a full disk the others would get the whole again and again.
        write_json(path, &queued).or_else(|error| remove_file(path).and(Err(error)))?;
        self.write_state(&TargetState { last_success: Some(now), given_up: None, ..self.state()? })
    }

    pub fn give_up(&self, path: &Path, queued: &Queued, now: Timestamp) -> Result<(), StoreError> {
        let reason = queued.reason().to_owned();
        let given_up = GivenUp { at: now, title: queued.notice.title.clone(), reason };
        remove_file(path)?;
        self.write_state(&TargetState { given_up: Some(given_up), ..self.state()? })
    }

    pub fn state(&self) -> Result<TargetState, StoreError> {
        Ok(read_json(&self.directory.join(STATE), MAX_LEN)?.unwrap_or_default())
    }

    fn write_state(&self, state: &TargetState) -> Result<(), StoreError> {
        write_json(&self.directory.join(STATE), state)
    }

    pub const fn target(&self) -> &TargetName {
        &self.target
    }

    fn files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let is_notice = |name: &str| name.ends_with(".json") && name != STATE && !name.starts_with('.');
        let entries = list(&self.directory)?.into_iter();
        let named = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_notice));
        Ok(named.map(|entry| entry.path()).collect())
    }
}

/// Removes the queues of targets that the config no longer has. Returns the notices that waited.
pub(super) fn sweep(settings: &Settings) -> Result<Vec<(Queue, Queued)>, StoreError> {
    let mut lost = Vec::new();
    for entry in list(&settings.paths.notices())? {
        let name = entry.file_name();
        let is_target = |name: &str| settings.notify.iter().any(|target| target.name.as_str() == name);
        if !entry.path().is_dir() || name.to_str().is_some_and(is_target) {
            continue;
        }
        if let Some(target) = name.to_str().and_then(|name| name.parse().ok()) {
            let queue = Queue::of(settings, &target);
            let waiting = queue.files()?.into_iter().filter_map(|path| read_json(&path, MAX_LEN).ok()?);
            let reason = Some("the configuration no longer has this target".to_owned());
            lost.extend(waiting.map(|queued| (queue.clone(), Queued { reason: reason.clone(), ..queued })));
        }
        remove_tree(&entry.path())?;
    }
    Ok(lost)
}

#[cfg(test)]
mod tests;
