//! Records on disk: `<night>.jsonl` while the night is open, `<night>.json` once it is closed.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use nightshift_core::chain;
use nightshift_core::kept::KeptNights;
use nightshift_core::night::{Night, is_from_the_future};
use nightshift_core::record::{Line, Record, Step};

use crate::append_log::AppendLog;
use crate::directory::{create_directories, list, remove_file};
use crate::fault::{IoContext as _, StoreError};
use crate::read::read_if_exists;
use crate::replace::replace_file;

/// How many nights' records are kept.
const KEPT_NIGHTS: i64 = 400;
/// Bytes of one record: 2,000 nodes make about 2 MB.
const MAX_LEN: u64 = 256 << 20;

/// The directory of records.
#[derive(Debug, Clone)]
pub struct Records {
    directory: PathBuf,
}

/// The records when a daemon starts.
#[derive(Debug, Default)]
pub struct Past {
    /// The nights that have a record, also one that was not read.
    pub nights: BTreeSet<Night>,
    /// The open records, and those of the newest date that is not in the future.
    pub read: Vec<Record>,
    /// The nights with a record more than 36 h in the future, newest first.
    pub future: Vec<Night>,
    /// Why a record cannot be read.
    pub unreadable: Vec<StoreError>,
}

impl Past {
    /// The record that was written to last, except those from the future: the open one, else the one with the newest line.
    pub fn newest(&self, now: Timestamp) -> Option<&Record> {
        self.newest_of(now, |_| true)
    }

    /// The newest of some.
    pub fn newest_of(&self, now: Timestamp, is_of_them: impl Fn(&Record) -> bool) -> Option<&Record> {
        let current = self.read.iter().filter(|record| !is_from_the_future(record.newest, now));
        current
            .filter(|record| is_of_them(record))
            .max_by_key(|record| (record.night.date, record.closed.is_none(), record.newest))
    }
}

impl Records {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The nights that have a record, oldest first.
    pub fn nights(&self) -> Result<Vec<Night>, StoreError> {
        let (closed, open) = self.files()?;
        Ok(closed.union(&open).copied().collect())
    }

    /// The nights with a file of a closed record, and those with one of an open record.
    fn files(&self) -> Result<(BTreeSet<Night>, BTreeSet<Night>), StoreError> {
        let (mut closed, mut open) = (BTreeSet::new(), BTreeSet::new());
        for entry in list(&self.directory)? {
            let name = entry.file_name();
            let Some((night, kind)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
            match (night.parse(), kind) {
                (Ok(night), "json") => drop(closed.insert(night)),
                (Ok(night), "jsonl") => drop(open.insert(night)),
                _ => {}
            }
        }
        Ok((closed, open))
    }

    /// What a daemon continues from, and `status` shows. A record that cannot be read does not hide the others.
    pub fn past(&self, now: Timestamp) -> Result<Past, StoreError> {
        let (closed, open) = self.files()?;
        let mut past = Past { nights: closed.clone(), ..Past::default() };
        let mut newest: Option<Date> = None;
        for night in (&closed | &open).iter().rev() {
            let is_open = !closed.contains(night);
            // Extra nights share their date with the night of the schedule, and any of them may be the newest.
            if !is_open && newest.is_some_and(|newest| newest != night.date) {
                continue;
            }
            // Without a clock at boot, every record is in the future: they are not all read.
            if !is_open && night.is_from_the_future(now) {
                past.future.push(*night);
                continue;
            }
            match self.read(*night) {
                Ok(Some(record)) => {
                    if is_from_the_future(record.newest, now) {
                        past.future.push(*night);
                    } else {
                        newest.get_or_insert(night.date);
                    }
                    past.nights.insert(*night);
                    past.read.push(record);
                }
                // Its first line was never written: the night can open again.
                Ok(None) => {}
                Err(error) => past.unreadable.push(error),
            }
        }
        Ok(past)
    }

    /// The record of a night, closed or open; `None` if there is none.
    pub fn read(&self, night: Night) -> Result<Option<Record>, StoreError> {
        let path = self.closed_path(night);
        let unreadable =
            |path: PathBuf| move |source: Box<dyn Error + Send + Sync>| StoreError::Record { path, source };
        let closed =
            read_if_exists(&path, MAX_LEN).map_err(|error| unreadable(path.clone())(error.into()))?;
        let open = self.open_path(night);
        let closed = closed.map(|bytes| serde_json::from_slice(&bytes));
        if let Some(Ok(record)) = closed {
            return of_night(record, night).map(Some).map_err(|error| unreadable(path)(error.into()));
        }
        let lines =
            AppendLog::read(&open, MAX_LEN).map_err(|error| unreadable(open.clone())(error.into()))?;
        let opened = Record::from_lines(lines).map(|record| of_night(record, night)).transpose();
        match (opened.map_err(|error| unreadable(open)(error.into()))?, closed) {
            (None, Some(Err(error))) => Err(unreadable(path)(error.into())),
            (record, _) => Ok(record),
        }
    }

    /// Opens the record of a night for writing: a new one, or the one that was left open. A closed one stays closed. One
    /// that cannot be read is moved aside, because the night must be recorded.
    pub fn open(&self, night: Night) -> Result<RecordLog, StoreError> {
        create_directories(&self.directory)?;
        if self.closed_path(night).exists() {
            return Err(StoreError::Closed(night));
        }
        let path = self.open_path(night);
        let opened = AppendLog::open(&path, MAX_LEN).or_else(|error| {
            if !is_of_the_file(&error) {
                return Err(error);
            }
            let aside = path.with_extension("jsonl.unreadable");
            tracing::warn!("{}; moving it to {}", chain(&error), aside.display());
            fs::rename(&path, &aside).map_err(|_| error)?;
            AppendLog::open(&path, MAX_LEN)
        });
        let (log, lines) = opened?;
        Ok(RecordLog { open: Arc::new(Mutex::new(Open { log, record: Record::from_lines(lines) })) })
    }

    /// Writes the closed record, then removes the lines it was made of.
    pub fn close(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.closed_path(record.night);
        if path.exists() {
            return Err(StoreError::Closed(record.night));
        }
        let bytes = serde_json::to_vec_pretty(record).map_err(io::Error::from).on("write", &path)?;
        replace_file(&path, &bytes)?;
        remove_file(&self.open_path(record.night))
    }

    /// Adds a step to a closed record, which is replaced as a whole. Only what happens after the night is added: its result stays.
    pub fn amend(&self, night: Night, step: Step) -> Result<(), StoreError> {
        let path = self.closed_path(night);
        let Some(mut record) = self.read(night)?.filter(|record| record.closed.is_some()) else {
            return Err(io::Error::other("the night is not closed")).on("amend", &path);
        };
        // Which night is the newest one follows from the lines of the nights themselves.
        let newest = record.newest;
        record.apply(Line { at: Timestamp::now(), step: step.bounded() });
        record.newest = newest;
        let bytes = serde_json::to_vec_pretty(&record).map_err(io::Error::from).on("write", &path)?;
        replace_file(&path, &bytes)
    }

    /// Removes the records that are older than what is kept at a date, but none of a night that an operator keeps.
    pub fn remove_older(&self, as_of: Date, kept: &KeptNights) -> Result<(), StoreError> {
        let limit = as_of.checked_sub(KEPT_NIGHTS.days()).unwrap_or(as_of);
        for night in self.nights()?.into_iter().filter(|night| night.date < limit) {
            if kept.of(night, as_of).is_some() {
                continue;
            }
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
        let line = Line { at: Timestamp::now(), step: step.bounded() };
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

/// A copy under another name would be shown, and counted, as another night.
fn of_night(record: Record, night: Night) -> Result<Record, String> {
    if record.night == night {
        Ok(record)
    } else {
        Err(format!("it is the record of night {}", record.night))
    }
}

/// Whether the file itself is the reason. A lack of descriptors, memory or space does not go away when the file is moved.
fn is_of_the_file(error: &StoreError) -> bool {
    use io::ErrorKind::{FileTooLarge, InvalidInput, IsADirectory, PermissionDenied};
    let StoreError::Io { source, .. } = error else { return false };
    matches!(source.kind(), FileTooLarge | InvalidInput | IsADirectory | PermissionDenied)
        || source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
