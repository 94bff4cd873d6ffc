//! A set of pages: one bit for each page of a database.

use std::io;

/// The number of words of a block: one block has the bits of four million pages.
const BLOCK: u64 = 1 << 16;

/// A set of page numbers below a bound. A block is allocated only when one of its pages is inserted, because a sparse file can
/// have many more pages than bytes on disk.
#[derive(Debug, Clone, Default)]
pub struct Bits {
    blocks: Vec<Vec<u64>>,
    bound: u64,
}

impl Bits {
    /// `bound` is the real number of pages of a file, never one that the file claims. It fails if the list of blocks does not
    /// fit into memory.
    pub fn new(bound: u64) -> io::Result<Self> {
        let too_many = || {
            let reason = format!("not enough memory for a set of {bound} pages");
            io::Error::new(io::ErrorKind::OutOfMemory, reason)
        };
        let count = usize::try_from(bound.div_ceil(64 * BLOCK)).map_err(|_| too_many())?;
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(count).map_err(|_| too_many())?;
        blocks.resize(count, Vec::new());
        Ok(Self { blocks, bound })
    }

    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// Returns whether the page is new. Pages past the bound are never in the set.
    pub fn insert(&mut self, page: u64) -> bool {
        let Some((block, word, bit)) = self.place(page) else { return false };
        let words = (self.bound.div_ceil(64) - block as u64 * BLOCK).min(BLOCK);
        let Some(block) = self.blocks.get_mut(block) else { return false };
        if block.is_empty() {
            *block = vec![0; words as usize];
        }
        let Some(word) = block.get_mut(word) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub fn contains(&self, page: u64) -> bool {
        let Some((block, word, bit)) = self.place(page) else { return false };
        self.blocks.get(block).and_then(|block| block.get(word)).is_some_and(|word| word & bit != 0)
    }

    fn place(&self, page: u64) -> Option<(usize, usize, u64)> {
        (page < self.bound).then_some(())?;
        let word = page / 64;
        Some((usize::try_from(word / BLOCK).ok()?, (word % BLOCK) as usize, 1 << (page % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_new_once_and_never_past_the_bound() {
        let mut bits = Bits::new(70).unwrap();
        assert!(bits.insert(69) && !bits.insert(69) && bits.contains(69));
        assert!(!bits.contains(5) && !bits.insert(70) && !bits.contains(u64::MAX));
    }

    #[test]
    fn the_holes_of_a_sparse_file_need_no_memory() {
        // The number of pages of a sparse file of 16 TiB.
        let mut bits = Bits::new((1 << 34) + 5).unwrap();
        for page in [0, (64 * BLOCK) - 1, 64 * BLOCK, (1 << 34) + 4] {
            assert!(!bits.contains(page) && bits.insert(page) && bits.contains(page) && !bits.insert(page));
        }
        assert_eq!(bits.blocks.iter().filter(|block| !block.is_empty()).count(), 3);
        assert_eq!(Bits::new(u64::MAX).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }
}
