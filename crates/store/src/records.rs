//! Records on disk: `<night>.jsonl` while the night is open, `<night>.json` once it is closed.

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{Timestamp, ToSpan as _};
use nightshift_core::night::Night;
use nightshift_core::record::{Line, Record, Step};

use crate::fault::{IoContext as _, StoreError};
use crate::layout::{create_folders, read_bounded};
use crate::publish::replace_file;
use crate::sync::{sync_file, sync_folder};

/// How many nights' records are kept.
const KEPT_NIGHTS: i64 = 400;
/// The most bytes that are read of one record: 2,000 nodes make about 2 MB.
const MAX_BYTES: u64 = 256 << 20;

/// The folder of records.
#[derive(Debug, Clone)]
pub struct Records {
    folder: PathBuf,
}

impl Records {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The nights that have a record, oldest first.
    pub fn nights(&self) -> Result<Vec<Night>, StoreError> {
        let mut nights = Vec::new();
        if !self.folder.exists() {
            return Ok(nights);
        }
        for entry in fs::read_dir(&self.folder).on("list", &self.folder)? {
            let name = entry.on("list", &self.folder)?.file_name();
            let Some(name) = name.to_str() else { continue };
            let stem = name.strip_suffix(".json").or_else(|| name.strip_suffix(".jsonl"));
            if let Some(night) = stem.and_then(|stem| stem.parse().ok()) {
                nights.push(night);
            }
        }
        nights.sort();
        nights.dedup();
        Ok(nights)
    }

    /// The record in which something happened last. Extra nights share their date with the scheduled one, so
    /// of the newest date the open one is it, else the one that was written to last.
    pub fn newest(&self) -> Result<Option<Record>, StoreError> {
        let mut newest: Option<Record> = None;
        for night in self.nights()?.into_iter().rev() {
            // A night that never got its first line is none, and hides no earlier one.
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
        let closed = self.closed_path(night);
        if closed.exists() {
            let bytes = read_bounded(&closed, MAX_BYTES)?;
            if let Ok(record) = serde_json::from_slice(&bytes) {
                return Ok(Some(record));
            }
        }
        let open = self.open_path(night);
        if !open.exists() {
            return Ok(None);
        }
        Ok(Record::from_lines(read_lines(&open)?))
    }

    /// Opens the record of a night for writing: a new one, or the one that was left open.
    pub fn open(&self, night: Night) -> Result<Journal, StoreError> {
        create_folders(&self.folder)?;
        let path = self.open_path(night);
        mend_torn_end(&path)?;
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(&path).on("open", &path)?;
        sync_folder(&self.folder).on("sync", &self.folder)?;
        let record = Record::from_lines(read_lines(&path)?);
        Ok(Journal { open: Arc::new(Mutex::new(Open { file, record })), path })
    }

    /// Writes the closed record, then removes the lines it was made of.
    pub fn close(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.closed_path(record.night);
        let bytes = serde_json::to_vec_pretty(record).map_err(std::io::Error::from).on("write", &path)?;
        replace_file(&path, &bytes)?;
        let open = self.open_path(record.night);
        fs::remove_file(&open).on("remove", &open)?;
        self.forget_oldest(record.night)
    }

    fn forget_oldest(&self, newest: Night) -> Result<(), StoreError> {
        let limit = newest.date.checked_sub(KEPT_NIGHTS.days()).unwrap_or(newest.date);
        for night in self.nights()?.into_iter().filter(|night| night.date < limit) {
            for path in [self.closed_path(night), self.open_path(night)] {
                if path.exists() {
                    fs::remove_file(&path).on("remove", &path)?;
                }
            }
        }
        Ok(())
    }

    fn open_path(&self, night: Night) -> PathBuf {
        self.folder.join(format!("{night}.jsonl"))
    }

    fn closed_path(&self, night: Night) -> PathBuf {
        self.folder.join(format!("{night}.json"))
    }
}

/// The lines of an open record. A last line that a crash cut short is left out.
fn read_lines(path: &Path) -> Result<Vec<Line>, StoreError> {
    let mut lines = Vec::new();
    // By bytes: a power cut may leave anything, and a line cut in the middle of a character is no text.
    for line in read_bounded(path, MAX_BYTES)?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(line) => lines.push(line),
            Err(error) => {
                tracing::warn!("{}: a line cannot be read and is left out: {error}", path.display());
            }
        }
    }
    Ok(lines)
}

/// Cuts off a line that a crash cut short, so that the next one stands by itself. Needs no room: the disk may be full.
fn mend_torn_end(path: &Path) -> Result<(), StoreError> {
    if !path.exists() {
        return Ok(());
    }
    let bytes = read_bounded(path, MAX_BYTES)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < bytes.len() {
        let file = OpenOptions::new().write(true).open(path).on("open", path)?;
        file.set_len(whole as u64).on("mend", path)?;
        sync_file(&file).on("sync", path)?;
    }
    Ok(())
}

/// The record of the open night: on disk, and as it stands so far.
#[derive(Debug, Clone)]
pub struct Journal {
    open: Arc<Mutex<Open>>,
    path: PathBuf,
}

#[derive(Debug)]
struct Open {
    file: File,
    record: Option<Record>,
}

impl Journal {
    /// Adds a step. It is on disk when this returns.
    pub fn note(&self, step: Step) -> Result<(), StoreError> {
        let line = Line { at: Timestamp::now(), step };
        let mut text = serde_json::to_vec(&line).map_err(std::io::Error::from).on("write", &self.path)?;
        text.push(b'\n');
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = open.file.write_all(&text) {
            // A full disk takes half a line: cut off again, it does not spoil the next one.
            mend_torn_end(&self.path)?;
            return Err(error).on("write", &self.path);
        }
        sync_file(&open.file).on("sync", &self.path)?;
        match &mut open.record {
            Some(record) => record.apply(line),
            None => open.record = Record::from_lines([line]),
        }
        Ok(())
    }

    /// A look at the night so far; `None` until its first step is written.
    pub fn look<T>(&self, look: impl FnOnce(Option<&Record>) -> T) -> T {
        look(self.open.lock().unwrap_or_else(PoisonError::into_inner).record.as_ref())
    }

    /// A copy of the night so far.
    pub fn record(&self) -> Option<Record> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).record.clone()
    }
}
