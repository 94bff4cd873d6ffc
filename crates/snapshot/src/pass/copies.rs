//! Copies of the small pages that may hold the small buckets: in file order nobody knows yet which of them are live.

use std::collections::BTreeMap;

use crate::page::Scan;

/// How many bytes are held at most.
const MOST: usize = 6 << 20;
/// The longest that is kept, in bytes.
const LONGEST: usize = 64 << 10;

/// The used bytes of small pages, by page.
#[derive(Debug, Default)]
pub struct Copies {
    pages: BTreeMap<u32, Copy>,
    bytes: usize,
}

#[derive(Debug)]
struct Copy {
    bytes: Box<[u8]>,
    /// How far etcd had come when it wrote the page, where it says so.
    age: Option<u64>,
}

impl Copies {
    /// Keeps a page. Roots are always kept: the metas name two of them at most.
    pub fn keep(&mut self, page: u32, used: &[u8], count: u16, is_root: bool) {
        if used.len() > LONGEST && !is_root {
            return;
        }
        let age = if is_root { Some(u64::MAX) } else { consistent_index(used, count) };
        if self.bytes + used.len() > MOST {
            self.drop_old();
        }
        if self.bytes + used.len() <= MOST || is_root {
            self.bytes += used.len();
            self.pages.insert(page, Copy { bytes: used.into(), age });
        }
    }

    pub fn of(&self, page: u32) -> Option<&[u8]> {
        self.pages.get(&page).map(|copy| &*copy.bytes)
    }

    /// Of the pages that tell their age the older half goes: the one that is live is the newest.
    fn drop_old(&mut self) {
        let mut ages: Vec<u64> = self.pages.values().filter_map(|copy| copy.age).collect();
        let middle = ages.len() / 2;
        if middle == 0 {
            return;
        }
        let (_, median, _) = ages.select_nth_unstable(middle);
        let median = *median;
        self.pages.retain(|_, copy| copy.age.is_none_or(|age| age >= median));
        self.bytes = self.pages.values().map(|copy| copy.bytes.len()).sum();
    }
}

/// The Raft index that a page of bucket `meta` holds.
fn consistent_index(page: &[u8], count: u16) -> Option<u64> {
    let mut scan = Scan::leaf(count);
    while let Some(Ok(element)) = scan.next(page) {
        if element.key == b"consistent_index" {
            return element.value.try_into().ok().map(u64::from_be_bytes);
        }
    }
    None
}
