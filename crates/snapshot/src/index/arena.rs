//! `KeyRevision`s in memory, in one allocation.

use std::ops::Range;

use super::key_revision::{BODY, HEAD, KeyRevision, order};

/// The maximum budget in bytes: positions are stored in 32 bits.
const MAX_BUDGET: usize = 1 << 30;

#[derive(Debug)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    /// The position of each entry; sorted by `sort`.
    places: Vec<u32>,
    budget: usize,
}

impl Arena {
    pub fn new(budget: usize) -> Self {
        Self { bytes: Vec::new(), places: Vec::new(), budget: budget.min(MAX_BUDGET) }
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() + self.places.len() * size_of::<u32>() >= self.budget && !self.places.is_empty()
    }

    pub fn push(&mut self, entry: &KeyRevision) {
        self.places.push(self.bytes.len() as u32);
        entry.encode(&mut self.bytes);
    }

    pub fn sort(&mut self) {
        let Self { bytes, places, .. } = self;
        places.sort_unstable_by(|a, b| order(&bytes[frame(bytes, *a)]).cmp(&order(&bytes[frame(bytes, *b)])));
    }

    /// The entries as they are written to a run.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| &self.bytes[frame(&self.bytes, *place)])
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }
}

/// The range of the entry at `place`.
fn frame(bytes: &[u8], place: u32) -> Range<usize> {
    let start = place as usize;
    let mut length = [0; HEAD];
    length.copy_from_slice(&bytes[start..start + HEAD]);
    start..start + HEAD + u32::from_le_bytes(length) as usize + BODY
}
