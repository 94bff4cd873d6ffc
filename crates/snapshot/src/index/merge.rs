//! Merges sorted runs into one sorted stream.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::arena::Arena;
use super::error::IndexError;
use super::key_revision::{HEAD, KeyRevision};
use super::run::{Reader, Run};

/// All revisions, sorted by key and then by revision. It ends after an error.
pub struct KeyRevisions<'i> {
    sources: Vec<Source<'i>>,
    heads: BinaryHeap<Reverse<Head>>,
}

enum Source<'i> {
    Memory(Box<dyn Iterator<Item = &'i [u8]> + 'i>),
    Run(Reader<'i>),
}

struct Head {
    entry: KeyRevision,
    source: usize,
}

impl<'i> KeyRevisions<'i> {
    pub(super) fn new(memory: Option<&'i Arena>, runs: &'i [Run]) -> Result<Self, IndexError> {
        let memory = memory.map(|arena| Source::Memory(Box::new(arena.frames())));
        let mut entries = Self {
            sources: memory.into_iter().chain(runs.iter().map(|run| Source::Run(run.read()))).collect(),
            heads: BinaryHeap::new(),
        };
        for source in 0..entries.sources.len() {
            entries.refill(source)?;
        }
        Ok(entries)
    }

    fn refill(&mut self, source: usize) -> Result<(), IndexError> {
        let entry = match &mut self.sources[source] {
            Source::Memory(frames) => {
                frames.next().and_then(|frame| KeyRevision::decode(frame[HEAD..].to_vec()))
            }
            Source::Run(reader) => reader.next().map_err(IndexError::ReadBack)?,
        };
        self.heads.extend(entry.map(|entry| Reverse(Head { entry, source })));
        Ok(())
    }
}

impl Iterator for KeyRevisions<'_> {
    type Item = Result<KeyRevision, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse(Head { entry, source }) = self.heads.pop()?;
        if let Err(error) = self.refill(source) {
            self.heads.clear();
            return Some(Err(error));
        }
        Some(Ok(entry))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = |head: &Self| (head.entry.revision, head.source);
        self.entry.key.cmp(&other.entry.key).then_with(|| order(self).cmp(&order(other)))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}
