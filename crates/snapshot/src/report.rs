//! The result of both readers.

use crate::facts::Facts;
use crate::finding::{Damage, Finding, Findings};
use crate::fingerprint::Fingerprint;
use crate::meta::{Meta, MetaError};
use crate::trailer::{Ending, TRAILER_LEN, Trailer};

/// The facts of a snapshot, and its defects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub trailer: Trailer,
    /// In bytes, including the trailer.
    pub length: u64,
    /// The SHA-256 of the whole file, as printed by `sha256sum`.
    pub sha256: [u8; 32],
    pub page_size: Option<u32>,
    pub fingerprint: Fingerprint,
    pub facts: Facts,
    /// The first hundred findings.
    pub findings: Vec<Finding>,
    /// The number of further findings.
    pub further_findings: u64,
}

impl Report {
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    pub(crate) fn new(
        ending: Ending,
        page_size: Option<u32>,
        fingerprint: Fingerprint,
        facts: Facts,
        findings: Findings,
    ) -> Self {
        Self {
            trailer: ending.trailer,
            length: ending.length,
            sha256: ending.sha256,
            page_size,
            fingerprint,
            facts,
            findings: findings.kept,
            further_findings: findings.further,
        }
    }
}

/// Adds a finding if the trailer does not match the content. A copy has no trailer.
pub fn check_trailer(ending: &Ending, copy: bool, findings: &mut Findings) {
    match ending.trailer {
        Trailer::Matches => {}
        Trailer::Wrong => findings.push(Finding::TrailerWrong),
        Trailer::Absent if copy => {}
        Trailer::Absent => findings.push(Finding::TrailerAbsent { length: ending.length }),
    }
}

/// Compares the metas with each other and with the length in bytes. In a stream both are valid and differ only in the
/// transaction number, by one, because bbolt writes both from one transaction (docs/facts/etcd.md#file-format). In a
/// copy they may be any, but with the same page size.
pub fn check_metas(
    metas: &[Result<Meta, MetaError>; 2],
    ids: [u64; 2],
    length: u64,
    copy: bool,
    findings: &mut Findings,
) {
    for ((page, meta), id) in (0u8..).zip(metas).zip(ids) {
        match meta {
            Err(_) if copy => {}
            Err(error) => findings.push(Finding::Meta { page, error: *error }),
            Ok(_) if id != u64::from(page) => findings.page(u64::from(page), Damage::Id { found: id }),
            Ok(_) => {}
        }
    }
    if let [Ok(first), Ok(second)] = metas {
        let sizes = [first.page_size, second.page_size];
        if sizes[0] != sizes[1] {
            findings.push(Finding::PageSizes { sizes });
        } else if !copy && !first.streamed_with(second) {
            findings.push(Finding::MetasDisagree);
        }
    }
    let Some(meta) = Meta::newer(metas[0], metas[1]) else { return };
    let body = meta.bytes();
    let whole = body.and_then(|body| body.checked_add(TRAILER_LEN as u64));
    // A database file can be longer than its used part, because bbolt extends it in steps.
    let copied = copy && body.is_some_and(|body| body <= length);
    if whole != Some(length) && !copied {
        findings.push(Finding::Length {
            length,
            pages: meta.high_water,
            page_size: meta.page_size,
            expected: whole.unwrap_or(u64::MAX),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::tests::page;

    fn findings(pages: [Vec<u8>; 2], length: u64, copy: bool) -> Vec<Finding> {
        let mut findings = Findings::default();
        check_metas(&pages.map(|page| Meta::parse(&page)), [0, 1], length, copy, &mut findings);
        findings.kept
    }

    #[test]
    fn metas_of_different_transactions_are_valid_only_in_a_copy_and_different_page_sizes_never() {
        let whole = 9 * 4096 + TRAILER_LEN as u64;
        let metas = |txid, size| [page(0, 4096, 9, 8), page(1, size, 9, txid)];
        assert_eq!(findings(metas(7, 4096), whole, false), []);
        assert_eq!(findings(metas(5, 4096), whole, false), [Finding::MetasDisagree]);
        assert_eq!(findings(metas(5, 4096), 9 * 4096, true), []);
        for copy in [true, false] {
            let sizes = Finding::PageSizes { sizes: [4096, 8192] };
            assert!(findings(metas(7, 8192), whole, copy).contains(&sizes));
        }
    }
}
