//! KeyRevisions in memory, one after the other in one allocation.

use std::ops::Range;

use super::key_revision::{BODY, HEAD, KeyRevision, order};

/// Beyond this an entry's place would not fit its number.
const MOST: usize = 1 << 30;

#[derive(Debug)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    /// Where each entry begins, sorted by `sort`.
    places: Vec<u32>,
    budget: usize,
}

impl Arena {
    pub fn new(budget: usize) -> Self {
        Self { bytes: Vec::new(), places: Vec::new(), budget: budget.min(MOST) }
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

    /// Each entry as it is spilled.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| &self.bytes[frame(&self.bytes, *place)])
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }
}

/// Where the entry that begins at `place` lies.
fn frame(bytes: &[u8], place: u32) -> Range<usize> {
    let start = place as usize;
    let mut length = [0; HEAD];
    length.copy_from_slice(&bytes[start..start + HEAD]);
    start..start + HEAD + u32::from_le_bytes(length) as usize + BODY
}
