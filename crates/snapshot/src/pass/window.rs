//! The bytes of pages of several units. They may overlap, because one of two overlapping pages is old.

use crate::database::MAX_LEAF_LEN;
use crate::source::append;

/// The maximum number of open pages. Only few old pages overlap in practice.
const MAX_OPEN: usize = 64;
/// Bytes that no open page needs are dropped when there are at least this many.
const SLACK: usize = 128 << 10;

#[derive(Debug, Default)]
pub struct Window {
    /// The number of the first unit in `bytes`.
    start: u64,
    bytes: Vec<u8>,
    open: Vec<Open>,
}

/// A page of several units whose last unit was not read yet.
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
    /// Opens a page whose first unit is the next one. Returns `false` if too many are open. The page must not be longer than the
    /// maximum (see `fits`).
    pub fn open(&mut self, page: Open) -> bool {
        let fits = self.open.len() < MAX_OPEN;
        if fits {
            if self.open.is_empty() {
                self.start = page.first;
                self.bytes.clear();
            }
            self.open.push(page);
        }
        fits
    }

    /// Stores a unit, if a page needs it.
    pub fn take(&mut self, unit: &[u8]) {
        if !self.open.is_empty() {
            append(&mut self.bytes, unit);
        }
    }

    /// Closes a page that ends with unit `number`.
    pub fn close(&mut self, number: u64) -> Option<Open> {
        let index = self.open.iter().position(|open| open.last() == number)?;
        Some(self.open.swap_remove(index))
    }

    /// A closed page's bytes.
    pub fn bytes(&self, page: Open, page_size: u32) -> &[u8] {
        let from = usize::try_from((page.first - self.start) * u64::from(page_size)).unwrap_or(usize::MAX);
        self.bytes.get(from..).unwrap_or_default()
    }

    /// Drops bytes that no open page needs.
    pub fn trim(&mut self, page_size: u32) {
        let Some(first) = self.open.iter().map(|open| open.first).min() else {
            // Large pages are rare, so their memory is freed.
            if self.bytes.capacity() > SLACK {
                self.bytes = Vec::new();
            }
            self.bytes.clear();
            return;
        };
        let unneeded = usize::try_from((first - self.start) * u64::from(page_size)).unwrap_or(usize::MAX);
        if unneeded >= SLACK.max(self.bytes.len() / 2) {
            self.bytes.drain(..unneeded.min(self.bytes.len()));
            self.start = first;
        }
    }
}

/// Whether a page is short enough to be opened.
pub fn fits(overflow: u32, page_size: u32) -> bool {
    (u64::from(overflow) + 1) * u64::from(page_size) <= MAX_LEAF_LEN
}
