//! Summarises one whole page that may be live.

use super::children::{Children, encode};
use super::pages::Pages;
use super::units::{Begins, Unit, fault_number, misfit_number};
use crate::change::Change;
use crate::database::MAX_BRANCH_LEN;
use crate::finding::Misfit;
use crate::page::{Header, Kind, Scan, overflow_fits};

/// The hash of a child and its key in the branch. The sum over all children is stored for the branch.
pub fn pair(child: u64, key: u32) -> u64 {
    // The finaliser of SplitMix64: differences in two children do not cancel out in the sum.
    let mut mixed = child.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(key);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Pages {
    /// `bytes` start with the page's header and contain at least the page.
    pub fn whole(&mut self, number: u64, bytes: &[u8]) -> Unit {
        let Some(header) = Header::parse(bytes) else { return Unit::new(Begins::Unchecked, 0) };
        let length = (u64::from(header.overflow) + 1) * u64::from(self.page_size);
        let bytes = usize::try_from(length).ok().and_then(|length| bytes.get(..length)).unwrap_or(bytes);
        // Page numbers are stored in 32 bits: with the smallest pages, that is 4 TiB.
        let Ok(page) = u32::try_from(number) else { return Unit::new(Begins::Unchecked, 0) };
        let unit = match header.kind() {
            Some(Kind::Leaf) => self.leaf(page, &header, bytes),
            Some(Kind::Branch) => self.branch(page, &header, bytes),
            Some(Kind::Freelist) => {
                self.freelist = Some(bytes.to_vec());
                Unit::new(Begins::Freelist, 0)
            }
            Some(Kind::Meta) | None => Unit::new(Begins::Unchecked, 0),
        };
        unit.with_overflow(header.overflow)
    }

    fn leaf(&mut self, page: u32, header: &Header, bytes: &[u8]) -> Unit {
        let mut scan = Scan::leaf(header.count);
        let (mut key, mut last, mut tombstones) = (0, 0, 0);
        let mut misfit: Option<(u16, Misfit)> = None;
        let mut bucket = None;
        loop {
            let index = u16::try_from(scan.index()).unwrap_or(u16::MAX);
            let element = match scan.next(bytes) {
                None => break,
                Some(Ok(element)) => element,
                Some(Err(fault)) => {
                    return Unit { extra: index, ..Unit::new(Begins::Faulty, fault_number(fault)) };
                }
            };
            if index == 0 {
                key = crc32c::crc32c(element.key);
            }
            if element.is_bucket {
                bucket = bucket.or(Some(index));
            } else if misfit.is_none() {
                match Change::parse(element.key, element.value) {
                    Ok(change) => {
                        last = change.revision.main;
                        tombstones += u16::from(change.tombstone);
                    }
                    Err(what) => misfit = Some((index, what)),
                }
            }
        }
        if !overflow_fits(scan.used(), header.overflow, self.page_size) {
            return Unit::new(Begins::Misfitting, u64::from(header.overflow) + 1);
        }
        let (begins, number, extra) = match (bucket, misfit) {
            (Some(bucket), _) => (Begins::Buckets, misfit_number(Misfit::NotARevision), bucket),
            (None, Some((index, what))) => (Begins::Entries, misfit_number(what), index),
            (None, None) => (Begins::Changes, last, tombstones),
        };
        if begins != Begins::Changes {
            let is_root = self.metas.iter().flatten().any(|meta| meta.root == u64::from(page));
            self.copies.keep(page, bytes.get(..scan.used()).unwrap_or_default(), header.count, is_root);
        }
        Unit { key, count: header.count, extra, ..Unit::new(begins, number) }
    }

    fn branch(&mut self, page: u32, header: &Header, bytes: &[u8]) -> Unit {
        if bytes.len() as u64 > MAX_BRANCH_LEN.max(u64::from(self.page_size)) {
            return Unit::new(Begins::TooLong, u64::from(header.overflow) + 1);
        }
        let mut scan = Scan::branch(header.count);
        let (mut key, mut sum, mut last) = (0, 0u64, 0);
        self.scratch.clear();
        loop {
            let index = u16::try_from(scan.index()).unwrap_or(u16::MAX);
            let element = match scan.next(bytes) {
                None => break,
                Some(Ok(element)) => element,
                Some(Err(fault)) => {
                    return Unit { extra: index, ..Unit::new(Begins::Faulty, fault_number(fault)) };
                }
            };
            let own = crc32c::crc32c(element.key);
            if index == 0 {
                key = own;
            }
            sum = sum.wrapping_add(pair(element.child, own));
            encode(element.child, last, &mut self.scratch);
            last = element.child;
        }
        if !overflow_fits(scan.used(), header.overflow, self.page_size) {
            return Unit::new(Begins::Misfitting, u64::from(header.overflow) + 1);
        }
        if self.children.bytes() >= self.review_at {
            self.drop_stale_branches();
        }
        if !self.children.keep(page, &self.scratch, header.count) {
            return Unit::new(Begins::Unchecked, 0);
        }
        Unit { key, count: header.count, ..Unit::new(Begins::Branch, sum) }
    }

    /// Drops branches whose children were all read and do not match: such a branch is old, or, if it is live, damaged in exactly
    /// this way.
    fn drop_stale_branches(&mut self) {
        let units = &mut self.units;
        self.children.retain(|page, children| {
            let Some(branch) = units.get(u64::from(page)).copied() else { return true };
            let mut sum = 0u64;
            for child in children {
                // A child that is still open, or was not checked, cannot be compared.
                let decided = units.get(child).filter(|child| {
                    !matches!(child.begins(), Begins::TooLong | Begins::Unchecked | Begins::Stray)
                });
                match decided {
                    Some(unit) => sum = sum.wrapping_add(pair(child, unit.key)),
                    None => return true,
                }
            }
            let matches = sum == branch.number();
            if !matches {
                let stray = Unit { key: branch.key, count: branch.count, ..Unit::new(Begins::Stray, 0) };
                units.set(u64::from(page), stray.with_overflow(branch.overflow()));
            }
            matches
        });
        self.review_at = Children::next_review(self.children.bytes(), self.review_at);
    }
}
