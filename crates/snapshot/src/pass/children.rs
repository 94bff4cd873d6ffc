//! The child pages of branch pages, in two or three bytes each.

/// The maximum number of bytes for branches that may be live.
const MAX_BYTES: usize = 96 << 20;
/// The minimum growth in bytes between two reviews, because each review reads all branches.
const MIN_GROWTH: usize = 8 << 20;
/// The size of one block in bytes. Blocks are never moved, so growing needs no memory for a copy.
const BLOCK: usize = 256 << 10;

/// The children of every branch page, as differences from one to the next.
#[derive(Debug, Default)]
pub struct Children {
    blocks: Vec<Vec<u8>>,
    /// The branch pages in the order of the stream, with the block and the position in it.
    index: Vec<Place>,
    /// The total capacity of the blocks in bytes.
    allocated: usize,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    page: u32,
    block: u32,
    offset: u32,
    count: u16,
}

impl Children {
    /// Keeps the children of a branch page. Returns `false` if there are too many.
    pub fn keep(&mut self, page: u32, encoded: &[u8], count: u16) -> bool {
        if self.bytes() + encoded.len() > MAX_BYTES {
            return false;
        }
        self.push(page, encoded, count);
        true
    }

    fn push(&mut self, page: u32, encoded: &[u8], count: u16) {
        if self.blocks.last().is_none_or(|block| block.len() + encoded.len() > block.capacity()) {
            let capacity = BLOCK.max(encoded.len());
            self.blocks.push(Vec::with_capacity(capacity));
            self.allocated += capacity;
        }
        let number = self.blocks.len() - 1;
        if let Some(block) = self.blocks.last_mut() {
            let place = Place { page, block: number as u32, offset: block.len() as u32, count };
            block.extend_from_slice(encoded);
            self.index.push(place);
        }
    }

    /// The allocated bytes, in whole blocks.
    pub fn bytes(&self) -> usize {
        self.allocated
    }

    /// At how many bytes the branches are reviewed next, if `bytes` are left after a review: at twice as many, and a last time
    /// before there are too many. Never, if a review would free little.
    pub fn next_review(bytes: usize, before: usize) -> usize {
        let last = MAX_BYTES - BLOCK;
        if bytes + MIN_GROWTH > last { usize::MAX } else { (bytes * 2).max(before).min(last) }
    }

    /// Keeps only the branch pages for which `keep` returns true.
    pub fn retain(&mut self, mut keep: impl FnMut(u32, Decoder<'_>) -> bool) {
        let Self { mut blocks, index, .. } = std::mem::take(self);
        let mut freed = 0;
        for place in index {
            // A block is freed as soon as all its branches were visited.
            while freed < place.block as usize {
                blocks[freed] = Vec::new();
                freed += 1;
            }
            let decoder = decoder(&blocks, place);
            let mut end = decoder.clone();
            if keep(place.page, decoder.clone()) {
                end.by_ref().for_each(drop);
                let length = decoder.bytes.len() - end.bytes.len();
                self.push(place.page, &decoder.bytes[..length], place.count);
            }
        }
    }

    /// Sorts the index, after the last branch. From then on `of` can be used.
    pub fn sort(&mut self) {
        self.index.sort_unstable_by_key(|place| place.page);
    }

    /// The children of a branch page; only after `sort`.
    pub fn of(&self, page: u32) -> Option<Decoder<'_>> {
        let index = self.index.binary_search_by_key(&page, |place| place.page).ok()?;
        self.index.get(index).map(|place| decoder(&self.blocks, *place))
    }
}

fn decoder(blocks: &[Vec<u8>], place: Place) -> Decoder<'_> {
    let block = blocks.get(place.block as usize).map(Vec::as_slice).unwrap_or_default();
    Decoder { bytes: block.get(place.offset as usize..).unwrap_or_default(), left: place.count, last: 0 }
}

/// Appends one child, as the difference to the last one.
pub fn encode(child: u64, last: u64, to: &mut Vec<u8>) {
    let difference = child.wrapping_sub(last).cast_signed();
    let mut rest = ((difference << 1) ^ (difference >> 63)).cast_unsigned();
    while rest >= 0x80 {
        to.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    to.push(rest as u8);
}

/// The children of one branch page.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    left: u16,
    last: u64,
}

impl Iterator for Decoder<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        let number = crate::key_value::varint(&mut self.bytes).ok()?;
        let difference = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
        self.last = self.last.wrapping_add(difference.cast_unsigned());
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(children: &[u64]) -> Vec<u8> {
        let (mut bytes, mut last) = (Vec::new(), 0);
        for child in children {
            encode(*child, last, &mut bytes);
            last = *child;
        }
        bytes
    }

    #[test]
    fn branches_are_reviewed_before_there_are_too_many_but_not_too_often() {
        assert_eq!(Children::next_review(2 << 20, 8 << 20), 8 << 20);
        assert_eq!(Children::next_review(20 << 20, 8 << 20), 40 << 20);
        assert!(Children::next_review(60 << 20, 40 << 20) < MAX_BYTES);
        assert_eq!(Children::next_review(MAX_BYTES - BLOCK, MAX_BYTES - BLOCK), usize::MAX);
    }

    #[test]
    fn children_are_stored_in_few_bytes_and_found_again() {
        let mut children = Children::default();
        let lists: Vec<Vec<u64>> =
            vec![vec![5, 6, 7, 100], vec![u64::MAX, 0, 3], vec![9], (0..60_000).map(|n| n * 3).collect()];
        for (page, list) in [7, 3, 12, 1].into_iter().zip(&lists) {
            assert!(children.keep(page, &encoded(list), list.len() as u16));
        }
        children.sort();
        for (page, list) in [7, 3, 12, 1].into_iter().zip(&lists) {
            assert_eq!(&children.of(page).unwrap().collect::<Vec<_>>(), list);
        }
        assert!(children.of(2).is_none());
        children.retain(|page, list| page == 3 && list.count() == 3);
        assert_eq!(children.of(3).unwrap().collect::<Vec<_>>(), lists[1]);
        assert!(children.of(7).is_none());
        assert_eq!(encoded(&[1000, 1001, 1002]).len(), 4);
    }
}
