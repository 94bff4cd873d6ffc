//! Records on disk: `<night>.jsonl` while the night is open, `<night>.json` once it is closed.

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{Timestamp, ToSpan as _};
use nightshift_core::night::Night;
use nightshift_core::record::{Line, Record, Step};

use crate::append_log::AppendLog;
use crate::directory::{create_directories, list, remove_file};
use crate::fault::{IoContext as _, StoreError};
use crate::publish::replace_file;
use crate::read::read_if_exists;

/// How many nights' records are kept.
const KEPT_NIGHTS: i64 = 400;
/// Bytes of one record: 2,000 nodes make about 2 MB.
const MAX_LEN: u64 = 256 << 20;

/// The directory of records.
#[derive(Debug, Clone)]
pub struct Records {
    directory: PathBuf,
}

impl Records {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The nights that have a record, oldest first.
    pub fn nights(&self) -> Result<Vec<Night>, StoreError> {
        let entries = list(&self.directory)?.into_iter();
        let mut nights: Vec<Night> = entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let name = name.to_str()?;
                name.strip_suffix(".json").or_else(|| name.strip_suffix(".jsonl"))?.parse().ok()
            })
            .collect();
        nights.sort();
        nights.dedup();
        Ok(nights)
    }

    /// The record that was written to last. Extra nights share their date with the scheduled one, so of the newest date
    /// it is the open one, else the one with the newest line.
    pub fn newest(&self) -> Result<Option<Record>, StoreError> {
        let mut newest: Option<Record> = None;
        for night in self.nights()?.into_iter().rev() {
            // A night whose first line was never written does not hide an earlier one.
            if newest.as_ref().is_some_and(|newest| newest.night.date != night.date) {
                break;
            }
            let rank = |record: &Record| (record.closed.is_none(), record.newest);
            if let Some(record) = self.read(night)?
                && newest.as_ref().is_none_or(|newest| rank(newest) < rank(&record))
            {
                newest = Some(record);
            }
        }
        Ok(newest)
    }

    /// The record of a night, closed or open; `None` where there is none that can be read.
    pub fn read(&self, night: Night) -> Result<Option<Record>, StoreError> {
        let closed = read_if_exists(&self.closed_path(night), MAX_LEN)?;
        if let Some(record) = closed.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(Some(record));
        }
        Ok(Record::from_lines(AppendLog::read(&self.open_path(night), MAX_LEN)?))
    }

    /// Opens the record of a night for writing: a new one, or the one that was left open.
    pub fn open(&self, night: Night) -> Result<RecordLog, StoreError> {
        create_directories(&self.directory)?;
        let (log, lines) = AppendLog::open(&self.open_path(night), MAX_LEN)?;
        Ok(RecordLog { open: Arc::new(Mutex::new(Open { log, record: Record::from_lines(lines) })) })
    }

    /// Writes the closed record, then removes the lines it was made of.
    pub fn close(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.closed_path(record.night);
        let bytes = serde_json::to_vec_pretty(record).map_err(io::Error::from).on("write", &path)?;
        replace_file(&path, &bytes)?;
        remove_file(&self.open_path(record.night))?;
        self.remove_oldest(record.night)
    }

    fn remove_oldest(&self, newest: Night) -> Result<(), StoreError> {
        let limit = newest.date.checked_sub(KEPT_NIGHTS.days()).unwrap_or(newest.date);
        for night in self.nights()?.into_iter().filter(|night| night.date < limit) {
            remove_file(&self.closed_path(night))?;
            remove_file(&self.open_path(night))?;
        }
        Ok(())
    }

    fn open_path(&self, night: Night) -> PathBuf {
        self.directory.join(format!("{night}.jsonl"))
    }

    fn closed_path(&self, night: Night) -> PathBuf {
        self.directory.join(format!("{night}.json"))
    }
}

/// The record of the open night: on disk, and put together so far.
#[derive(Debug, Clone)]
pub struct RecordLog {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug)]
struct Open {
    log: AppendLog<Line>,
    record: Option<Record>,
}

impl RecordLog {
    /// Adds a step. It is on disk when this returns.
    pub fn note(&self, step: Step) -> Result<(), StoreError> {
        let line = Line { at: Timestamp::now(), step };
        let mut open = self.open();
        open.log.append(&line)?;
        match &mut open.record {
            Some(record) => record.apply(line),
            None => open.record = Record::from_lines([line]),
        }
        Ok(())
    }

    /// Gives `look` the record so far; `None` until its first step is written.
    pub fn look<T>(&self, look: impl FnOnce(Option<&Record>) -> T) -> T {
        look(self.open().record.as_ref())
    }

    /// A copy of the record so far.
    pub fn record(&self) -> Option<Record> {
        self.open().record.clone()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
