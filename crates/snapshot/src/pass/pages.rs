//! The data that is kept of all pages while the stream is read.

use super::children::Children;
use super::copies::Copies;
use super::units::Units;
use super::window::Window;
use crate::meta::{Meta, MetaError};
use crate::trailer::TRAILER_LEN;

/// The maximum number of units: 32 GiB with pages of 4 KiB, four times the size that etcd recommends at most. They need 160 MiB
/// of memory. The number of pages in a meta cannot be trusted, so there must be a limit.
pub const MAX_UNITS: u64 = 8 << 20;

/// The data that is kept of all pages.
#[derive(Debug)]
pub struct Pages {
    pub page_size: u32,
    pub metas: [Result<Meta, MetaError>; 2],
    /// The page numbers in the headers of the metas.
    pub meta_ids: [u64; 2],
    pub units: Units,
    /// The maximum number of units.
    pub max_units: u64,
    pub children: Children,
    pub copies: Copies,
    /// The list of free pages that the meta refers to, including its header.
    pub freelist: Option<Vec<u8>>,
    pub window: Window,
    /// At how many bytes of branches stale ones are dropped.
    pub review_at: usize,
    pub scratch: Vec<u8>,
}

impl Pages {
    pub fn new(page_size: u32) -> Self {
        Self {
            page_size,
            metas: [Err(MetaError::Short); 2],
            meta_ids: [0, 1],
            units: Units::default(),
            max_units: MAX_UNITS,
            children: Children::default(),
            copies: Copies::default(),
            freelist: None,
            window: Window::default(),
            review_at: 8 << 20,
            scratch: Vec::new(),
        }
    }

    /// Whether a stream of this length, which may still grow, has a defect for certain: it is longer than its newer meta says, or
    /// has too many pages.
    pub fn is_refuted(&self, length: u64) -> bool {
        let [Ok(first), Ok(second)] = self.metas else { return false };
        let Some(meta) = Meta::newer(Ok(first), Ok(second)) else { return false };
        let whole = meta.bytes().and_then(|body| body.checked_add(TRAILER_LEN as u64));
        whole.is_none_or(|whole| length > whole)
            || (self.units.len() >= self.max_units && meta.high_water > self.max_units)
    }

    /// The current meta. Both metas are at the start of the stream.
    pub fn meta(&self) -> Option<Meta> {
        Meta::newer(self.metas[0], self.metas[1])
    }
}
