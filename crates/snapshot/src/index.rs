//! Every revision of every key in the order of keys: bucket `key` has them in the order of revisions.
//!
//! An external merge sort: what does not fit into memory is spilled to unnamed files as sorted runs.

mod arena;
mod key_revision;
mod latest;
mod merge;
mod run;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use arena::Arena;
pub use key_revision::{KeyRevision, ValueHash};
pub use latest::{Key, Keys};
pub use merge::KeyRevisions;
use run::Run;

use crate::change::{Change, Visitor};
use crate::cursor::Location;
use crate::database::{Database, ReadError};
use crate::finding::Findings;
use crate::lookup::scan;
use crate::source::ReadAt;

/// So many runs are merged at once, and so many files are open for each level of them.
const FAN_IN: usize = 32;

/// What an index may use.
#[derive(Debug, Clone)]
pub struct IndexOptions {
    /// Where it spills to; the files have no names and go with the process.
    pub folder: PathBuf,
    /// The bytes of entries that are kept in memory.
    pub memory: usize,
    /// Whether entries carry the hash of their value, which a comparison of two indexes needs.
    pub hash_values: bool,
}

impl IndexOptions {
    /// 16 MiB in memory, the rest in this folder.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), memory: 16 << 20, hash_values: false }
    }

    pub fn with_hashes(self) -> Self {
        Self { hash_values: true, ..self }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("the sorted keys cannot be spilled to {}", folder.display())]
    Spill { folder: PathBuf, source: io::Error },
    #[error("the spilled keys cannot be read back")]
    ReadBack(#[source] io::Error),
    #[error("the snapshot could not be walked through")]
    Walk(#[source] io::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the keys were sorted without the hashes of their values, so that they cannot be compared")]
    Unhashed,
}

/// Takes revisions in any order.
#[derive(Debug)]
pub struct IndexBuilder {
    options: IndexOptions,
    arena: Arena,
    /// Level by level: a full one is merged into one run of the next.
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
        // The small ones first.
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
        let folder = &self.options.folder;
        Run::write(folder, write).map_err(|source| IndexError::Spill { folder: folder.clone(), source })
    }
}

/// Sorts the keys in the course of a walk.
impl Visitor for IndexBuilder {
    fn change(&mut self, change: &Change<'_>, _: Location) -> io::Result<()> {
        self.push(change).map_err(io::Error::other)
    }
}

impl KeyIndex {
    /// Sorts what a database holds; with it comes what was damaged and so is missing.
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

    /// Every revision, sorted by key and then by revision.
    pub fn entries(&self) -> Result<KeyRevisions<'_>, IndexError> {
        KeyRevisions::new(Some(&self.memory), &self.runs)
    }

    /// Every key with its newest revision, in the order of keys: deleted ones too, and the empty one where
    /// etcd bumped the revision of a restored database.
    pub fn keys(&self) -> Result<Keys<'_>, IndexError> {
        Ok(Keys::new(self.entries()?))
    }

    /// The keys that are there and begin with `prefix`, in order.
    pub fn live<'i>(
        &'i self,
        prefix: &'i [u8],
    ) -> Result<impl Iterator<Item = Result<Key, IndexError>> + use<'i>, IndexError> {
        let is_before = move |key: &Result<Key, IndexError>| {
            key.as_ref().is_ok_and(|key| key.newest.key.as_slice() < prefix)
        };
        let is_wanted = move |key: &Result<Key, IndexError>| {
            key.as_ref().map_or(true, |key| key.newest.key.starts_with(prefix))
        };
        let wanted = self.keys()?.skip_while(is_before).take_while(is_wanted);
        let is_there = |key: &Key| key.is_live() && !key.newest.key.is_empty();
        Ok(wanted.filter(move |key| key.as_ref().map_or(true, is_there)))
    }

    pub fn is_hashed(&self) -> bool {
        self.hashed
    }
}
