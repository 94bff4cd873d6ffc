//! What either reader gives: the same words, whoever found them.

use crate::database::Fingerprint;
use crate::facts::Facts;
use crate::finding::{Damage, Finding, Findings};
use crate::meta::{Meta, MetaError};
use crate::trailer::{Ending, TRAILER_LEN, Trailer};

/// What was found, and what the database says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub trailer: Trailer,
    /// In bytes, the trailer included.
    pub length: u64,
    /// The SHA-256 of every byte, as `sha256sum` prints it.
    pub sha256: [u8; 32],
    pub page_size: Option<u32>,
    pub fingerprint: Fingerprint,
    pub facts: Facts,
    /// The first hundred.
    pub findings: Vec<Finding>,
    /// How many there were beyond those.
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

/// Holds the trailer against the whole.
pub fn check_trailer(ending: &Ending, copy: bool, findings: &mut Findings) {
    match ending.trailer {
        Trailer::Matches => {}
        Trailer::Wrong => findings.push(Finding::TrailerWrong),
        Trailer::Absent if copy => {}
        Trailer::Absent => findings.push(Finding::TrailerAbsent { length: ending.length }),
    }
}

/// Holds the metas against each other and against the length, in bytes. A stream has two sound metas that differ in
/// nothing but one transaction (docs/facts/etcd.md#file-format); a copy may have any, but of one page size.
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
            Ok(_) if id != u64::from(page) => findings.page(u64::from(page), Damage::Id { says: id }),
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
    // A database file is longer than what is in use of it: bbolt lets it grow in steps.
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
    fn only_a_copy_may_have_metas_of_two_transactions_and_none_those_of_two_page_sizes() {
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
