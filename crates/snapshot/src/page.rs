//! The pages of a bbolt database (bbolt, `internal/common/page.go`).
//!
//! Nothing in a page is trusted: each element must be within the page, must be greater than the previous element, and must be
//! at the position where bbolt writes it, directly after the previous element.

use std::ops::Range;

/// The page header: id u64, flags u16, count u16, overflow u32.
pub const HEADER: usize = 16;
/// The length of the header of an element, in a leaf or a branch.
const ELEMENT: usize = 16;
/// An element's flag in a leaf: its value is a bucket.
const BUCKET: u32 = 1;
/// The header of a bucket: its root page u64, its sequence u64.
pub const BUCKET_HEADER: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Branch,
    Leaf,
    Meta,
    Freelist,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub id: u64,
    pub flags: u16,
    pub count: u16,
    /// How many further pages belong to this page.
    pub overflow: u32,
}

impl Header {
    /// `None` if there are too few bytes.
    pub fn parse(page: &[u8]) -> Option<Self> {
        let (id, rest) = page.split_first_chunk()?;
        let (flags, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (overflow, _) = rest.split_first_chunk()?;
        Some(Self {
            id: u64::from_le_bytes(*id),
            flags: u16::from_le_bytes(*flags),
            count: u16::from_le_bytes(*count),
            overflow: u32::from_le_bytes(*overflow),
        })
    }

    /// `None` if not exactly one known flag is set.
    pub fn kind(&self) -> Option<Kind> {
        match self.flags {
            1 => Some(Kind::Branch),
            2 => Some(Kind::Leaf),
            4 => Some(Kind::Meta),
            0x10 => Some(Kind::Freelist),
            _ => None,
        }
    }
}

/// What is wrong with an element of a page; it completes "its element N …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("is past the end of its page")]
    Bounds,
    #[error("does not directly follow the previous one")]
    Position,
    #[error("has no key")]
    NoKey,
    #[error("has an unknown flag")]
    Flags,
    #[error("is not greater than the previous one, so etcd would not find it")]
    Order,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// The key, followed by the value.
    pub raw: &'a [u8],
    pub is_bucket: bool,
    /// For an element of a branch, the page number of its child; else 0.
    pub child: u64,
}

/// Iterates over a page's elements and checks each. It stores no bytes: each step gets the same bytes of the page, from its
/// header to its end.
#[derive(Debug, Clone)]
pub struct Scan {
    branch: bool,
    count: usize,
    next: usize,
    /// The position at which the next element's key must start.
    data: usize,
    /// The range of the previous element's key; its value ends at `data`.
    key: Range<usize>,
    is_bucket: bool,
}

impl Scan {
    pub fn leaf(count: u16) -> Self {
        Self::new(false, count)
    }

    pub fn branch(count: u16) -> Self {
        Self::new(true, count)
    }

    fn new(branch: bool, count: u16) -> Self {
        let count = usize::from(count);
        Self { branch, count, next: 0, data: HEADER + count * ELEMENT, key: 0..0, is_bucket: false }
    }

    /// The index of the next element.
    pub fn index(&self) -> usize {
        self.next
    }

    /// How many bytes of the page are used; valid after the scan has ended without a fault.
    pub fn used(&self) -> usize {
        self.data
    }

    /// The key of the last element.
    pub fn key<'a>(&self, page: &'a [u8]) -> &'a [u8] {
        page.get(self.key.clone()).unwrap_or_default()
    }

    /// The last element of a leaf, with its index.
    pub fn last<'a>(&self, page: &'a [u8]) -> Option<(usize, Element<'a>)> {
        let index = self.next.checked_sub(1)?;
        let raw = page.get(self.key.start..self.data)?;
        let (key, value) = raw.split_at_checked(self.key.len())?;
        Some((index, Element { key, value, raw, is_bucket: self.is_bucket, child: 0 }))
    }

    /// A fault ends the scan, because the following elements cannot be trusted.
    pub fn next<'a>(&mut self, page: &'a [u8]) -> Option<Result<Element<'a>, Fault>> {
        if self.next >= self.count {
            return None;
        }
        let step = self.step(page);
        match step {
            Ok(_) => self.next += 1,
            Err(_) => self.next = self.count,
        }
        Some(step)
    }

    fn step<'a>(&mut self, page: &'a [u8]) -> Result<Element<'a>, Fault> {
        let raw = Raw::at(page, self.branch, self.next).ok_or(Fault::Bounds)?;
        if raw.start != Some(self.data) {
            return Err(Fault::Position);
        }
        if raw.flags > BUCKET {
            return Err(Fault::Flags);
        }
        let element = raw.element(page).ok_or(Fault::Bounds)?;
        let Element { key, value, .. } = element;
        if key.is_empty() {
            return Err(Fault::NoKey);
        }
        let before = page.get(self.key.clone()).unwrap_or_default();
        if self.next > 0 && before >= key {
            return Err(Fault::Order);
        }
        self.is_bucket = raw.flags == BUCKET;
        self.key = self.data..self.data + key.len();
        self.data += key.len() + value.len();
        Ok(element)
    }
}

/// One element of a leaf, by its index. It is only checked to be within the page.
pub fn leaf_element(page: &[u8], count: u16, index: usize) -> Option<Element<'_>> {
    if index >= usize::from(count) {
        return None;
    }
    Raw::at(page, false, index)?.element(page)
}

/// An element as it is stored. In a leaf: flags, pos, ksize, vsize (u32 each). In a branch: pos, ksize (u32) and pgid (u64).
/// pos is relative to the element itself.
struct Raw {
    flags: u32,
    child: u64,
    /// Relative to the page's header; `None` if it is too large.
    start: Option<usize>,
    key: usize,
    value: usize,
}

impl Raw {
    fn at(page: &[u8], branch: bool, index: usize) -> Option<Self> {
        let place = HEADER + index * ELEMENT;
        let raw: &[u8; ELEMENT] = page.get(place..)?.first_chunk()?;
        let word = |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        let start = |position: u32| place.checked_add(position as usize);
        Some(if branch {
            let child = u64::from(word(8)) | u64::from(word(12)) << 32;
            Self { flags: 0, child, start: start(word(0)), key: word(4) as usize, value: 0 }
        } else {
            Self {
                flags: word(0),
                child: 0,
                start: start(word(4)),
                key: word(8) as usize,
                value: word(12) as usize,
            }
        })
    }

    fn element<'a>(&self, page: &'a [u8]) -> Option<Element<'a>> {
        let raw = page.get(self.start?..)?.get(..self.key.checked_add(self.value)?)?;
        let (key, value) = raw.split_at_checked(self.key)?;
        Some(Element { key, value, raw, is_bucket: self.flags == BUCKET, child: self.child })
    }
}

/// Whether bbolt would write `used` bytes into a page with this overflow. Older versions used one page too many if the bytes
/// exactly fill their pages.
pub fn overflow_fits(used: usize, overflow: u32, page_size: u32) -> bool {
    let (used, page_size) = (used as u64, u64::from(page_size));
    let overflow = u64::from(overflow);
    overflow == used.saturating_sub(1) / page_size || overflow == used / page_size
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A leaf page as bbolt writes it.
    pub fn leaf(id: u64, size: usize, entries: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut page = Vec::new();
        page.extend(id.to_le_bytes());
        page.extend(2u16.to_le_bytes());
        page.extend((entries.len() as u16).to_le_bytes());
        page.extend(0u32.to_le_bytes());
        let mut data = Vec::new();
        for (index, (key, value)) in entries.iter().enumerate() {
            let position = (entries.len() - index) * ELEMENT + data.len();
            for word in [0, position, key.len(), value.len()] {
                page.extend((word as u32).to_le_bytes());
            }
            data.extend([*key, *value].concat());
        }
        page.extend(data);
        page.resize(size, 0);
        page
    }

    fn faults(page: &[u8]) -> Option<Fault> {
        let mut scan = Scan::leaf(Header::parse(page).unwrap().count);
        while let Some(element) = scan.next(page) {
            if let Err(fault) = element {
                return Some(fault);
            }
        }
        None
    }

    #[test]
    fn a_leaf_is_read_as_bbolt_writes_it() {
        let page = leaf(7, 512, &[(b"a", b"1"), (b"bb", b""), (b"c", b"333")]);
        let header = Header::parse(&page).unwrap();
        assert_eq!((header.id, header.kind(), header.count), (7, Some(Kind::Leaf), 3));
        let mut scan = Scan::leaf(header.count);
        let mut read = Vec::new();
        while let Some(element) = scan.next(&page) {
            let element = element.unwrap();
            read.push((element.key, element.value));
        }
        assert_eq!(read, [(&b"a"[..], &b"1"[..]), (b"bb", b""), (b"c", b"333")]);
        assert_eq!(scan.used(), HEADER + 3 * ELEMENT + 8);
        assert_eq!(leaf_element(&page, 3, 2).unwrap().value, b"333");
        assert_eq!(leaf_element(&page, 3, 3), None);
    }

    #[test]
    fn every_flipped_bit_of_an_elements_header_is_detected() {
        let page = leaf(7, 512, &[(b"a", b"1"), (b"bb", b""), (b"c", b"333")]);
        // The lengths of the last element cannot be checked, because no element follows.
        for at in HEADER..HEADER + 3 * ELEMENT - 8 {
            for bit in 0..8 {
                let mut bad = page.clone();
                bad[at] ^= 1 << bit;
                let bucket_flag = (at - HEADER).is_multiple_of(ELEMENT) && bit == 0;
                assert!(bucket_flag || faults(&bad).is_some(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn keys_out_of_order_empty_keys_and_lengths_past_the_end_are_detected() {
        assert_eq!(faults(&leaf(7, 512, &[(b"b", b""), (b"a", b"")])), Some(Fault::Order));
        assert_eq!(faults(&leaf(7, 512, &[(b"b", b""), (b"b", b"")])), Some(Fault::Order));
        assert_eq!(faults(&leaf(7, 512, &[(b"", b"x")])), Some(Fault::NoKey));
        let mut long = leaf(7, 512, &[(b"a", b"")]);
        long[HEADER + 12..HEADER + 16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(faults(&long), Some(Fault::Bounds));
        long[10..12].copy_from_slice(&u16::MAX.to_le_bytes());
        assert_eq!(faults(&long), Some(Fault::Position));
    }
}
