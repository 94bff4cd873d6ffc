//! The checks at birth: trailer, both metas, and the length that they imply, while the snapshot streams by.

use crate::finding::Finding;
use crate::meta::{HEAD, Meta, find_page_size};
use crate::trailer::{TRAILER_LEN, Trailer, TrailerCheck};

/// Checks a snapshot that streams by. Keeps only the first pages of it.
#[derive(Debug, Default)]
pub struct Birth {
    trailer: TrailerCheck,
    head: Vec<u8>,
    /// No more of the head is needed: both metas are in it.
    head_done: bool,
}

/// What the checks at birth found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub trailer: Trailer,
    /// In bytes, the trailer included.
    pub length: u64,
    /// The SHA-256 of every byte, as `sha256sum` prints it.
    pub sha256: [u8; 32],
    pub page_size: Option<u32>,
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

impl Birth {
    pub fn update(&mut self, bytes: &[u8]) {
        self.trailer.update(bytes);
        if !self.head_done {
            let room = HEAD - self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
            let enough = Meta::parse(&self.head).map_or(HEAD, |meta| 2 * meta.page_size as usize);
            self.head_done = self.head.len() >= enough.min(HEAD);
        }
    }

    pub fn finish(self) -> Report {
        let ending = self.trailer.finish();
        let mut findings = Vec::new();
        match ending.trailer {
            Trailer::Matches => {}
            Trailer::Wrong => findings.push(Finding::TrailerWrong),
            Trailer::Absent => findings.push(Finding::TrailerAbsent { length: ending.length }),
        }
        let page_size = find_page_size(&self.head);
        match page_size {
            Some(page_size) => check_metas(&self.head, page_size, ending.length, &mut findings),
            None => findings.push(Finding::NotAnEtcdDatabase),
        }
        Report { trailer: ending.trailer, length: ending.length, sha256: ending.sha256, page_size, findings }
    }
}

/// A stream has two sound metas that differ in nothing but one transaction (facts/etcd.md D.6).
fn check_metas(head: &[u8], page_size: u32, length: u64, findings: &mut Vec<Finding>) {
    let metas = [Meta::parse(head), Meta::parse(head.get(page_size as usize..).unwrap_or_default())];
    for (page, meta) in (0u8..).zip(&metas) {
        if let Err(error) = meta {
            findings.push(Finding::Meta { page, error: *error });
        }
    }
    let [Ok(first), Ok(second)] = metas else { return };
    if first != (Meta { txid: second.txid.wrapping_add(1), ..second }) {
        findings.push(Finding::MetasDisagree);
    }
    let expected = first
        .high_water
        .checked_mul(u64::from(page_size))
        .and_then(|pages| pages.checked_add(TRAILER_LEN as u64));
    if expected != Some(length) {
        findings.push(Finding::Length {
            length,
            pages: first.high_water,
            page_size,
            expected: expected.unwrap_or(u64::MAX),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::tests::page;
    use sha2::{Digest as _, Sha256};

    fn sealed(mut body: Vec<u8>) -> Vec<u8> {
        let sum = Sha256::digest(&body);
        body.extend_from_slice(&sum);
        body
    }

    fn body() -> Vec<u8> {
        [page(0, 4096, 9, 8), page(1, 4096, 9, 7), vec![0; 7 * 4096]].concat()
    }

    fn check(bytes: &[u8]) -> Report {
        let mut birth = Birth::default();
        bytes.chunks(1000).for_each(|chunk| birth.update(chunk));
        birth.finish()
    }

    #[test]
    fn a_streamed_snapshot_is_sound() {
        let report = check(&sealed(body()));
        assert!(report.is_sound(), "{report:?}");
        assert_eq!((report.page_size, report.length), (Some(4096), 9 * 4096 + 32));
    }

    #[test]
    fn a_snapshot_that_lost_pages_is_found_even_under_a_fresh_trailer() {
        let mut short = body();
        short.truncate(6 * 4096);
        assert!(matches!(check(&sealed(short)).findings[..], [Finding::Length { pages: 9, .. }]));
    }

    #[test]
    fn a_copy_of_a_running_database_is_told_from_a_stream() {
        let mut copy = body();
        copy[..4096].copy_from_slice(&page(0, 4096, 12, 8));
        assert!(check(&sealed(copy)).findings.contains(&Finding::MetasDisagree));
    }

    #[test]
    fn what_is_no_database_is_called_so() {
        assert!(check(&sealed(vec![7; 8192])).findings.contains(&Finding::NotAnEtcdDatabase));
        assert_eq!(check(b"").findings, [Finding::TrailerAbsent { length: 0 }, Finding::NotAnEtcdDatabase]);
    }

    #[test]
    fn every_cut_is_found() {
        let whole = sealed(body());
        for length in (0..whole.len()).step_by(97) {
            assert!(!check(&whole[..length]).is_sound(), "{length} bytes");
        }
    }
}
