//! The bytes of pages that go on over several units, and may overlap: of two that do, one is old.

use crate::database::LONGEST_LEAF;
use crate::source::append;

/// How many pages may be open at once. Old ones overlap by the few.
const MOST: usize = 64;
/// Bytes that no open page needs are let go of when there are so many.
const SLACK: usize = 128 << 10;

#[derive(Debug, Default)]
pub struct Window {
    /// The first unit that is held.
    start: u64,
    bytes: Vec<u8>,
    open: Vec<Open>,
}

/// A page that goes on.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    pub first: u64,
    pub overflow: u32,
}

impl Open {
    fn last(&self) -> u64 {
        self.first + u64::from(self.overflow)
    }
}

impl Window {
    /// Begins a page whose first unit comes next. `false` where too many are open. It must be no longer than the
    /// longest page.
    pub fn open(&mut self, page: Open) -> bool {
        let fits = self.open.len() < MOST;
        if fits {
            if self.open.is_empty() {
                self.start = page.first;
                self.bytes.clear();
            }
            self.open.push(page);
        }
        fits
    }

    /// Takes a unit, where a page needs it.
    pub fn take(&mut self, unit: &[u8]) {
        if !self.open.is_empty() {
            append(&mut self.bytes, unit);
        }
    }

    /// A page that ends with unit `number`.
    pub fn close(&mut self, number: u64) -> Option<Open> {
        let index = self.open.iter().position(|open| open.last() == number)?;
        Some(self.open.swap_remove(index))
    }

    /// A closed page's bytes.
    pub fn bytes(&self, page: Open, page_size: u32) -> &[u8] {
        let from = usize::try_from((page.first - self.start) * u64::from(page_size)).unwrap_or(usize::MAX);
        self.bytes.get(from..).unwrap_or_default()
    }

    /// Lets go of what no open page needs.
    pub fn trim(&mut self, page_size: u32) {
        let Some(first) = self.open.iter().map(|open| open.first).min() else {
            // Large pages are rare: what the last one took is given back.
            if self.bytes.capacity() > SLACK {
                self.bytes = Vec::new();
            }
            self.bytes.clear();
            return;
        };
        let dead = usize::try_from((first - self.start) * u64::from(page_size)).unwrap_or(usize::MAX);
        if dead >= SLACK.max(self.bytes.len() / 2) {
            self.bytes.drain(..dead.min(self.bytes.len()));
            self.start = first;
        }
    }
}

/// Whether a page may be opened at all.
pub fn fits(overflow: u32, page_size: u32) -> bool {
    (u64::from(overflow) + 1) * u64::from(page_size) <= LONGEST_LEAF
}
