//! All revisions of all keys, sorted by key. (In the bucket `key` they are sorted by revision.)
//!
//! An external merge sort: entries that do not fit into memory are written to unnamed temporary files, as sorted runs.

mod arena;
mod error;
mod key_revision;
mod latest;
mod merge;
mod run;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::change::{Change, Visitor};
use crate::database::Database;
use crate::entry::Location;
use crate::finding::Findings;
use crate::lookup::scan;
use crate::source::ReadAt;
use arena::Arena;
pub use error::IndexError;
pub use key_revision::{KeyRevision, ValueHash};
pub use latest::{Key, Keys};
pub use merge::KeyRevisions;
use run::Run;

/// How many runs are merged at once; each level has at most this many open files.
const FAN_IN: usize = 32;

/// The resources of an index.
#[derive(Debug, Clone)]
pub struct IndexOptions {
    /// The directory for temporary files. They have no names, so they are removed when the process ends.
    pub directory: PathBuf,
    /// How many bytes of entries are kept in memory.
    pub memory: usize,
    /// Whether entries have the hash of their value, which is needed to compare two indexes.
    pub hash_values: bool,
}

impl IndexOptions {
    /// 16 MiB in memory, the rest in this directory.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), memory: 16 << 20, hash_values: false }
    }

    pub fn with_hashes(self) -> Self {
        Self { hash_values: true, ..self }
    }
}

/// Accepts revisions in any order.
#[derive(Debug)]
pub struct IndexBuilder {
    options: IndexOptions,
    arena: Arena,
    /// The runs, by level: a full level is merged into one run of the next level.
    levels: Vec<Vec<Run>>,
}

/// Revisions sorted by key, then by revision.
#[derive(Debug)]
pub struct KeyIndex {
    memory: Arena,
    runs: Vec<Run>,
    hashed: bool,
}

impl IndexBuilder {
    pub fn new(options: IndexOptions) -> Self {
        Self { arena: Arena::new(options.memory), options, levels: Vec::new() }
    }

    pub fn push(&mut self, change: &Change<'_>) -> Result<(), IndexError> {
        if self.arena.is_full() {
            self.spill()?;
        }
        self.arena.push(&KeyRevision::of(change, self.options.hash_values));
        Ok(())
    }

    pub fn finish(mut self) -> Result<KeyIndex, IndexError> {
        let hashed = self.options.hash_values;
        if self.levels.is_empty() {
            self.arena.sort();
            return Ok(KeyIndex { memory: self.arena, runs: Vec::new(), hashed });
        }
        self.spill()?;
        // The lower levels, with the smaller runs, come first.
        let mut runs: Vec<Run> = std::mem::take(&mut self.levels).into_iter().flatten().collect();
        while runs.len() > FAN_IN {
            let merged = self.merge(&runs[..FAN_IN])?;
            runs.drain(..FAN_IN);
            runs.push(merged);
        }
        Ok(KeyIndex { memory: Arena::new(0), runs, hashed })
    }

    fn spill(&mut self) -> Result<(), IndexError> {
        self.arena.sort();
        let mut run = self.written(|writer| self.arena.frames().try_for_each(|frame| writer.frame(frame)))?;
        self.arena.clear();
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(run);
            if self.levels[level].len() < FAN_IN {
                break;
            }
            let full = std::mem::take(&mut self.levels[level]);
            run = self.merge(&full)?;
        }
        Ok(())
    }

    fn merge(&self, runs: &[Run]) -> Result<Run, IndexError> {
        let mut frame = Vec::new();
        let mut entries = KeyRevisions::new(None, runs)?;
        self.written(|writer| {
            entries.try_for_each(|entry| {
                frame.clear();
                entry.map_err(io::Error::other)?.encode(&mut frame);
                writer.frame(&frame)
            })
        })
    }

    fn written(&self, write: impl FnOnce(&mut run::Writer) -> io::Result<()>) -> Result<Run, IndexError> {
        let directory = &self.options.directory;
        Run::write(directory, write)
            .map_err(|source| IndexError::Spill { directory: directory.clone(), source })
    }
}

/// Builds the index during a walk.
impl Visitor for IndexBuilder {
    fn change(&mut self, change: &Change<'_>, _: Location) -> io::Result<()> {
        self.push(change).map_err(io::Error::other)
    }
}

impl KeyIndex {
    /// Builds the index of a database. Damaged parts are missing in it and returned as findings.
    pub fn of<S: ReadAt>(
        database: &Database<S>,
        options: IndexOptions,
    ) -> Result<(Self, Findings), IndexError> {
        let mut builder = IndexBuilder::new(options);
        let mut pushed = Ok(());
        let findings = scan(database, |change| {
            pushed = builder.push(change);
            if pushed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        pushed?;
        Ok((builder.finish()?, findings))
    }

    /// All revisions, sorted by key and then by revision.
    pub fn entries(&self) -> Result<KeyRevisions<'_>, IndexError> {
        KeyRevisions::new(Some(&self.memory), &self.runs)
    }

    /// All keys with their newest revision, in order. They include deleted keys, and the empty key of a bumped revision.
    pub fn keys(&self) -> Result<Keys<'_>, IndexError> {
        Ok(Keys::new(self.entries()?))
    }

    /// The existing keys that start with `prefix`, in order.
    pub fn live<'i>(
        &'i self,
        prefix: &'i [u8],
    ) -> Result<impl Iterator<Item = Result<Key, IndexError>> + use<'i>, IndexError> {
        let is_before = move |key: &Result<Key, IndexError>| {
            key.as_ref().is_ok_and(|key| key.newest.key.as_slice() < prefix)
        };
        let matches = move |key: &Result<Key, IndexError>| {
            key.as_ref().map_or(true, |key| key.newest.key.starts_with(prefix))
        };
        let matching = self.keys()?.skip_while(is_before).take_while(matches);
        let exists = |key: &Key| key.is_live() && !key.newest.key.is_empty();
        Ok(matching.filter(move |key| key.as_ref().map_or(true, exists)))
    }

    pub fn is_hashed(&self) -> bool {
        self.hashed
    }
}
