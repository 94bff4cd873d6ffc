//! Copies of small pages that may contain the small buckets. During the stream it is not known yet which of them are live.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::page::Scan;

/// The maximum number of bytes of all copies.
const MAX_BYTES: usize = 6 << 20;
/// The maximum length of a copy in bytes.
const MAX_COPY_LEN: usize = 64 << 10;

/// The used bytes of small pages, by page.
#[derive(Debug, Default)]
pub struct Copies {
    pages: BTreeMap<u32, Box<[u8]>>,
    /// The pages with a Raft index, which shows their age, by that index.
    aged: BTreeSet<(u64, u32)>,
    /// The other pages, in the order of the stream.
    ageless: VecDeque<u32>,
    bytes: usize,
}

impl Copies {
    /// Keeps a page. Roots are always kept; the metas refer to at most two of them.
    pub fn keep(&mut self, page: u32, used: &[u8], count: u16, is_root: bool) {
        if is_root {
            self.bytes += used.len();
            self.pages.insert(page, used.into());
            return;
        }
        if used.len() > MAX_COPY_LEN {
            return;
        }
        while self.bytes + used.len() > MAX_BYTES {
            if !self.drop_oldest() {
                return;
            }
        }
        match consistent_index(used, count) {
            Some(age) => drop(self.aged.insert((age, page))),
            None => self.ageless.push_back(page),
        }
        self.bytes += used.len();
        self.pages.insert(page, used.into());
    }

    pub fn of(&self, page: u32) -> Option<&[u8]> {
        self.pages.get(&page).map(|copy| &**copy)
    }

    /// Drops the oldest page. Of the pages with an age, the live one is the newest, so the others are dropped first. Returns
    /// `false` if no page can be dropped.
    fn drop_oldest(&mut self) -> bool {
        let old = if self.aged.len() > 1 { self.aged.pop_first().map(|(_, page)| page) } else { None };
        let Some(page) = old.or_else(|| self.ageless.pop_front()) else { return false };
        if let Some(copy) = self.pages.remove(&page) {
            self.bytes -= copy.len();
        }
        true
    }
}

/// The Raft index in a page of the bucket `meta`.
fn consistent_index(page: &[u8], count: u16) -> Option<u64> {
    let mut scan = Scan::leaf(count);
    while let Some(Ok(element)) = scan.next(page) {
        if element.key == b"consistent_index" {
            return element.value.try_into().ok().map(u64::from_be_bytes);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Header;
    use crate::page::tests::leaf;

    fn keep(copies: &mut Copies, page: u32, key: &[u8], value: &[u8]) {
        let bytes = leaf(u64::from(page), 60 << 10, &[(key, value)]);
        let count = Header::parse(&bytes).unwrap().count;
        copies.keep(page, &bytes, count, false);
    }

    #[test]
    fn the_newest_page_of_meta_and_the_last_of_the_others_are_kept() {
        let mut copies = Copies::default();
        copies.keep(2, &[0; 100 << 10], 0, true);
        for page in 10..1000u32 {
            // The newest page is in the middle of the stream.
            let age = if page == 500 { u64::MAX } else { u64::from(page) };
            keep(&mut copies, page, b"consistent_index", &age.to_be_bytes());
            keep(&mut copies, page + 1000, b"a", b"member");
            assert!(copies.bytes <= MAX_BYTES);
        }
        assert!(copies.of(2).is_some() && copies.of(500).is_some() && copies.of(1999).is_some());
        assert!(copies.of(10).is_none() && copies.of(1010).is_none());
        let bytes: usize = copies.pages.values().map(|copy| copy.len()).sum();
        assert_eq!(bytes, copies.bytes);
        assert_eq!(copies.pages.len(), 1 + copies.aged.len() + copies.ageless.len());
    }
}
