//! A file of lines, one JSON value each, that is only ever appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nightshift_core::text::InvalidJson;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::{IoContext as _, StoreError};
use crate::read::{read_bounded, read_if_exists};
use crate::sync::{sync_directory, sync_file};

/// A log that is open for writing. A line is on disk when `append` returns.
#[derive(Debug)]
pub struct AppendLog<T> {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    size: u64,
    lines: PhantomData<fn(T)>,
}

impl<T: Serialize + DeserializeOwned> AppendLog<T> {
    /// Opens the log at `path`, or creates it, and returns what it contains. An incomplete last line, left by a crash,
    /// is cut off: that needs no space on a full disk, and the next line starts on its own. `max` bounds the size in bytes.
    pub fn open(path: &Path, max: u64) -> Result<(Self, Vec<T>), StoreError> {
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path).on("open", path)?;
        let bytes = read_bounded(path, max)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let log = Self { path: path.to_owned(), file, size: whole as u64, lines: PhantomData };
        if whole < bytes.len() {
            log.cut_off()?;
        }
        if let Some(directory) = path.parent() {
            sync_directory(directory).on("sync", directory)?;
        }
        Ok((log, parse(path, &bytes[..whole])))
    }

    /// The lines of a log that may be open elsewhere; none where it does not exist.
    pub fn read(path: &Path, max: u64) -> Result<Vec<T>, StoreError> {
        Ok(parse(path, &read_if_exists(path, max)?.unwrap_or_default()))
    }

    pub fn append(&mut self, line: &T) -> Result<(), StoreError> {
        let mut text = serde_json::to_vec(line).map_err(io::Error::from).on("write", &self.path)?;
        text.push(b'\n');
        let written = self.file.write_all(&text).and_then(|()| sync_file(&self.file));
        if written.is_err() {
            // A full disk accepts half a line, which would spoil the next one.
            self.cut_off()?;
        }
        written.on("write", &self.path)?;
        self.size += text.len() as u64;
        Ok(())
    }

    fn cut_off(&self) -> Result<(), StoreError> {
        self.file.set_len(self.size).and_then(|()| sync_file(&self.file)).on("truncate", &self.path)
    }
}

/// Splits bytes, not text, because a power cut may leave anything in a line.
fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Vec<T> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .filter_map(|line| {
            let parsed = serde_json::from_slice(line).map_err(InvalidJson::from);
            parsed
                .inspect_err(|error| tracing::warn!("{}: skipping an invalid line: {error}", path.display()))
                .ok()
        })
        .collect()
}
