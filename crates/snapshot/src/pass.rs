//! The reader in file order: it checks a snapshot while it is streamed, and keeps a few bytes per page.
//!
//! Only at the end it is known which pages are live. Until then every page-sized unit may be the start of a page, or the inside
//! of a page that started before: free pages contain old data, which can look like anything.

mod children;
mod copies;
mod page;
mod pages;
mod stream;
mod tree;
mod units;
mod window;

use crate::facts::Facts;
use crate::finding::{Finding, Findings};
use crate::fingerprint::Fingerprint;
use crate::meta::{HEAD, META_PAGE, Meta, find_page_size};
use crate::report::{Report, check_metas, check_trailer};
use crate::trailer::TrailerCheck;
use pages::Pages;

/// Checks a snapshot while it is streamed. It needs 64 MiB of memory for a snapshot of 8 GB.
#[derive(Debug, Default)]
pub struct Pass {
    trailer: TrailerCheck,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// No meta was found yet.
    Head(Vec<u8>),
    Pages(Box<Splitter>),
    NotEtcd,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

impl Pass {
    /// Processes the next bytes, any number of them.
    pub fn update(&mut self, bytes: &[u8]) {
        self.trailer.update(bytes);
        match &mut self.stage {
            Stage::Head(head) => {
                let missing = HEAD.saturating_sub(head.len()).min(bytes.len());
                let (more, rest) = bytes.split_at(missing);
                head.extend_from_slice(more);
                if head.len() < META_PAGE {
                    return;
                }
                if let Some(page_size) = find_page_size(head) {
                    let mut splitter = Splitter::new(page_size);
                    splitter.update(head);
                    splitter.update(rest);
                    self.stage = Stage::Pages(Box::new(splitter));
                } else if head.len() >= HEAD {
                    self.stage = Stage::NotEtcd;
                }
            }
            Stage::Pages(splitter) => splitter.update(bytes),
            Stage::NotEtcd => {}
        }
    }

    /// Whether a defect is certain already, whatever follows: a reader of foreign data may end here. The report has that defect too.
    pub fn is_refuted(&self) -> bool {
        match &self.stage {
            Stage::Head(_) => false,
            Stage::NotEtcd => true,
            Stage::Pages(splitter) => splitter.pages.is_refuted(self.trailer.length()),
        }
    }

    /// Ends the stream and returns the report.
    pub fn finish(self) -> Report {
        let ending = self.trailer.finish();
        let mut findings = Findings::default();
        check_trailer(&ending, false, &mut findings);
        let Stage::Pages(splitter) = self.stage else {
            findings.push(Finding::NotAnEtcdDatabase);
            return Report::new(ending, None, Fingerprint::NotEtcd, Facts::default(), findings);
        };
        let Splitter { page_size, pages, .. } = *splitter;
        let metas = pages.metas;
        check_metas(&metas, pages.meta_ids, ending.length, false, &mut findings);
        let facts = match Meta::newer(metas[0], metas[1]) {
            Some(meta) if pages.units.len() >= pages.max_units && meta.high_water > pages.max_units => {
                findings.push(Finding::TooManyPages { pages: meta.high_water, max: pages.max_units });
                Facts { size: meta.bytes(), ..Facts::default() }
            }
            Some(meta) => tree::settle(pages, &meta, &mut findings),
            None => Facts::default(),
        };
        Report::new(ending, Some(page_size), Fingerprint::of(&metas, ending.length), facts, findings)
    }
}

/// Splits the stream into units of a page's size. A unit that is completely in one input chunk is not copied.
#[derive(Debug)]
struct Splitter {
    page_size: u32,
    partial: Vec<u8>,
    pages: Pages,
}

impl Splitter {
    fn new(page_size: u32) -> Self {
        Self { page_size, partial: Vec::new(), pages: Pages::new(page_size) }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        let size = self.page_size as usize;
        if !self.partial.is_empty() {
            let (more, rest) = bytes.split_at((size - self.partial.len()).min(bytes.len()));
            self.partial.extend_from_slice(more);
            bytes = rest;
            if self.partial.len() < size {
                return;
            }
            self.pages.unit(&self.partial);
            self.partial.clear();
        }
        let mut units = bytes.chunks_exact(size);
        for unit in &mut units {
            self.pages.unit(unit);
        }
        self.partial.extend_from_slice(units.remainder());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::tests::page;

    const SIZE: u32 = 1024;

    fn passing(high_water: u64) -> Splitter {
        let mut splitter = Splitter::new(SIZE);
        splitter.update(&page(0, SIZE, high_water, 8));
        splitter.update(&page(1, SIZE, high_water, 7));
        splitter
    }

    #[test]
    fn a_stream_that_is_longer_than_its_meta_says_or_no_database_is_refuted_before_it_ends() {
        let mut pass = Pass::default();
        for (id, txid) in [(0, 8), (1, 7)] {
            pass.update(&page(id, SIZE, 9, txid));
        }
        pass.update(&[0; 7 * SIZE as usize + crate::trailer::TRAILER_LEN]);
        assert!(!pass.is_refuted());
        pass.update(&[0]);
        assert!(pass.is_refuted());
        assert!(pass.finish().findings.iter().any(|finding| matches!(finding, Finding::Length { .. })));

        let mut zeros = Pass::default();
        zeros.update(&vec![0; HEAD]);
        assert!(zeros.is_refuted());
        assert!(zeros.finish().findings.contains(&Finding::NotAnEtcdDatabase));
    }

    #[test]
    fn data_past_the_used_pages_needs_no_memory() {
        let mut splitter = passing(9);
        for _ in 0..100 {
            splitter.update(&[0; 10 * SIZE as usize]);
        }
        assert_eq!(splitter.pages.units.len(), 9);
    }

    #[test]
    fn a_database_with_too_many_pages_to_check_is_a_finding() {
        let mut splitter = passing(u64::MAX / 2);
        splitter.pages.max_units = 50;
        splitter.update(&[0; 100 * SIZE as usize]);
        assert_eq!(splitter.pages.units.len(), 50);
        let pass = Pass { trailer: TrailerCheck::default(), stage: Stage::Pages(Box::new(splitter)) };
        let findings = pass.finish().findings;
        let expected = Finding::TooManyPages { pages: u64::MAX / 2, max: 50 };
        assert!(findings.contains(&expected), "{findings:?}");
        assert!(!findings.iter().any(|finding| matches!(finding, Finding::Page { .. })), "{findings:?}");
    }
}
