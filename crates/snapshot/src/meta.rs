//! The two meta pages at the start of a bbolt database (bbolt, `internal/common/meta.go`).

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// The page header: id u64, flags u16, count u16, overflow u32.
const HEADER: usize = 16;
/// The length of the meta after its header, without its checksum.
const CHECKED: usize = 56;
/// The length of the meta after its header, including its checksum.
const META: usize = 64;
/// The page number of the freelist if it is not stored.
const NO_FREELIST: u64 = u64::MAX;
/// The page header's flag of a meta page.
const FLAG_META: u16 = 4;

/// How many bytes of a database are enough to find both metas: a page of the maximum size, and the meta after it.
pub const HEAD: usize = (1024 << 14) + META_PAGE;
/// How many bytes of a page a meta needs.
pub const META_PAGE: usize = HEADER + META;

/// The possible page sizes in bytes.
pub fn page_sizes() -> impl Iterator<Item = u32> {
    (0..=14).map(|shift| 1024u32 << shift)
}

/// One meta page. The fields are page numbers, if not stated otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// In bytes.
    pub page_size: u32,
    pub root: u64,
    /// `None` if etcd does not store it (from 3.3 on).
    pub freelist: Option<u64>,
    /// The number of the first page after the used ones.
    pub high_water: u64,
    /// The number of its transaction.
    pub txid: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    #[error("it is truncated")]
    Short,
    #[error("it is not a meta page")]
    NotMeta,
    #[error("its magic number is not that of bbolt")]
    Magic,
    #[error("its version is {0}, expected 2")]
    Version(u32),
    #[error("its page size {0} is not a power of two from 1 KiB to 16 MiB")]
    PageSize(u32),
    #[error("its checksum does not match its content")]
    Checksum,
    #[error("it refers to a page past the end")]
    Bounds,
}

impl Meta {
    /// Parses the meta page at the start of `page`.
    pub fn parse(page: &[u8]) -> Result<Self, MetaError> {
        let head = page.get(..HEADER + META).ok_or(MetaError::Short)?;
        let flags = u16::from_le_bytes([head[8], head[9]]);
        let meta = &head[HEADER..];
        if u32_at(meta, 0) != MAGIC {
            return Err(MetaError::Magic);
        }
        if flags != FLAG_META {
            return Err(MetaError::NotMeta);
        }
        let version = u32_at(meta, 4);
        if version != VERSION {
            return Err(MetaError::Version(version));
        }
        if u64_at(meta, CHECKED) != fnv1a(&meta[..CHECKED]) {
            return Err(MetaError::Checksum);
        }
        let page_size = u32_at(meta, 8);
        if !page_size.is_power_of_two() || !(1024..=1024 << 14).contains(&page_size) {
            return Err(MetaError::PageSize(page_size));
        }
        let freelist = u64_at(meta, 32);
        let parsed = Self {
            page_size,
            root: u64_at(meta, 16),
            freelist: (freelist != NO_FREELIST).then_some(freelist),
            high_water: u64_at(meta, 40),
            txid: u64_at(meta, 48),
        };
        if parsed.root >= parsed.high_water || parsed.freelist.is_some_and(|page| page >= parsed.high_water) {
            return Err(MetaError::Bounds);
        }
        Ok(parsed)
    }

    /// The current one of two metas: of the valid ones, that of the later transaction.
    pub fn newer(first: Result<Self, MetaError>, second: Result<Self, MetaError>) -> Option<Self> {
        match (first, second) {
            (Ok(first), Ok(second)) => Some(if second.txid > first.txid { second } else { first }),
            (Ok(meta), Err(_)) | (Err(_), Ok(meta)) => Some(meta),
            (Err(_), Err(_)) => None,
        }
    }

    /// The bytes in use.
    pub fn bytes(&self) -> Option<u64> {
        self.high_water.checked_mul(u64::from(self.page_size))
    }

    /// Whether `second` is the second meta that bbolt writes when it streams a database: equal, but with a transaction number
    /// that is one lower.
    pub fn streamed_with(&self, second: &Self) -> bool {
        *self == Self { txid: second.txid.wrapping_add(1), ..*second }
    }
}

/// Finds the page size from the start of a database: from the first meta, or, if that is invalid, by searching for the second
/// one at each possible page size.
pub fn find_page_size(head: &[u8]) -> Option<u32> {
    if let Ok(meta) = Meta::parse(head) {
        return Some(meta.page_size);
    }
    page_sizes().find(|size| {
        head.get(*size as usize..)
            .is_some_and(|page| Meta::parse(page).is_ok_and(|meta| meta.page_size == *size))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// FNV-1a with 64 bits: bbolt's checksum of a meta.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A meta page as bbolt writes it.
    pub fn page(id: u64, page_size: u32, high_water: u64, txid: u64) -> Vec<u8> {
        let mut page = vec![0; page_size as usize];
        page[..8].copy_from_slice(&id.to_le_bytes());
        page[8..10].copy_from_slice(&FLAG_META.to_le_bytes());
        let meta = &mut page[HEADER..HEADER + META];
        meta[..4].copy_from_slice(&MAGIC.to_le_bytes());
        meta[4..8].copy_from_slice(&VERSION.to_le_bytes());
        meta[8..12].copy_from_slice(&page_size.to_le_bytes());
        meta[16..24].copy_from_slice(&3u64.to_le_bytes());
        meta[32..40].copy_from_slice(&NO_FREELIST.to_le_bytes());
        meta[40..48].copy_from_slice(&high_water.to_le_bytes());
        meta[48..56].copy_from_slice(&txid.to_le_bytes());
        let sum = fnv1a(&meta[..CHECKED]);
        meta[CHECKED..].copy_from_slice(&sum.to_le_bytes());
        page
    }

    #[test]
    fn a_meta_is_read_as_bbolt_writes_it() {
        let meta = Meta::parse(&page(0, 4096, 9, 7)).unwrap();
        assert_eq!(meta, Meta { page_size: 4096, root: 3, freelist: None, high_water: 9, txid: 7 });
    }

    #[test]
    fn every_flipped_bit_of_a_meta_is_detected() {
        let good = page(0, 4096, 9, 7);
        for at in 8..HEADER + META {
            // The header's count and overflow are unused on a meta page.
            if (10..HEADER).contains(&at) {
                continue;
            }
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(Meta::parse(&bad).is_err(), "byte {at}, bit {bit}");
            }
        }
        assert_eq!(Meta::parse(&good[..79]), Err(MetaError::Short));
    }

    #[test]
    fn the_page_size_is_found_from_the_second_meta_if_the_first_is_invalid() {
        for size in [1024, 4096, 65536] {
            let mut head = page(0, size, 9, 7);
            head.extend(page(1, size, 9, 6));
            assert_eq!(find_page_size(&head), Some(size));
            head[HEADER] ^= 1;
            assert_eq!(find_page_size(&head), Some(size));
        }
        assert_eq!(find_page_size(&[0; 8192]), None);
    }
}
