//! Databases that no current etcd writes, and hostile ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support {
    pub mod built;
}

use std::cell::Cell;
use std::io;
use std::ops::ControlFlow;

use nightshift_snapshot::{Damage, Database, Finding, Pass, ReadAt, Report, scan, walk};
use sha2::{Digest as _, Sha256};
use support::built::{NO_FREELIST, PAGE, Plan, built, leaf, meta};

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

fn pass(bytes: &[u8], chunk: usize) -> Report {
    let mut pass = Pass::default();
    bytes.chunks(chunk).for_each(|chunk| pass.update(chunk));
    pass.finish()
}

/// The findings of both readers, which must refer to the same pages.
fn findings(bytes: Vec<u8>) -> Vec<Finding> {
    let bytes = sealed(bytes);
    let (passed, walked) = (pass(&bytes, 32 << 10), walk(&bytes, &mut ()).unwrap());
    assert_eq!(passed.is_sound(), walked.is_sound(), "{:?} against {:?}", passed.findings, walked.findings);
    passed.findings
}

fn damage(page: u64, damage: Damage) -> Finding {
    Finding::Page { page, damage }
}

#[test]
fn pages_of_many_units_are_read_with_any_chunk_size() {
    for value in [100, 3000, 5000, 100_000, 3 << 20] {
        let plan = Plan { leaves: 7, changes: 2, value, ..Plan::default() };
        let bytes = sealed(built(&plan));
        let mut walked = walk(&bytes, &mut ()).unwrap();
        assert!(walked.is_sound(), "{:?}", walked.findings);
        assert!(walked.facts.hash.take().is_some());
        assert_eq!((walked.facts.revisions, walked.facts.revision), (Some(14), Some(15)));
        for chunk in [PAGE - 1, PAGE, 32 << 10, 100_000, bytes.len()] {
            assert_eq!(pass(&bytes, chunk), walked, "{value} {chunk}");
        }
    }
}

#[test]
fn a_database_with_three_levels_of_branches_is_sound() {
    let bytes = sealed(built(&Plan { leaves: 10_500, changes: 2, value: 10, ..Plan::default() }));
    assert!(walk(&bytes, &mut ()).unwrap().is_sound());
    assert_eq!(pass(&bytes, 32 << 10).facts.revisions, Some(21_000));
}

#[test]
fn old_pages_that_overlap_live_ones_are_ignored() {
    let plan = Plan { leaves: 40, gap: 6, ..Plan::default() };
    let mut bytes = built(&plan);
    // The free pages 2 to 7 each claim to overflow into live ones; of some, only the first unit is left.
    for page in 2..8usize {
        let mut old = leaf(page as u64, &[(0, b"old".to_vec(), vec![b'o'; 40 * PAGE])], true);
        old.truncate(PAGE);
        bytes[page * PAGE..][..PAGE].copy_from_slice(&old);
    }
    assert_eq!(findings(bytes), []);
}

#[test]
fn bytes_of_a_value_that_look_like_a_page_are_not_read_as_a_page() {
    let plan = Plan { leaves: 5, changes: 2, value: 40_000, ..Plan::default() };
    let mut bytes = built(&plan);
    let decoy = leaf(6, &[(0, b"decoy".to_vec(), vec![b'd'; 30 * PAGE])], true);
    bytes[6 * PAGE..][..PAGE].copy_from_slice(&decoy[..PAGE]);
    assert_eq!(findings(bytes), []);
}

#[test]
fn the_list_of_free_pages_is_compared_with_the_pages_in_use() {
    let plan = Plan { leaves: 20, gap: 4, freelist: true, ..Plan::default() };
    assert_eq!(findings(built(&plan)), []);
    let list = built(&plan).len() - PAGE;
    let with = |element: usize, number: u64| {
        let mut bytes = built(&plan);
        bytes[list + 16 + element * 8..][..8].copy_from_slice(&number.to_le_bytes());
        findings(bytes)
    };
    assert_eq!(with(0, 3), [damage(3, Damage::FreeTwice), damage(2, Damage::Lost)]);
    assert_eq!(with(1, 7), [damage(3, Damage::Lost), damage(7, Damage::InUseAndFree)]);
    assert_eq!(with(2, 1 << 40), [damage(1 << 40, Damage::FreePastEnd), damage(4, Damage::Lost)]);
}

#[test]
fn lengths_that_are_too_large_need_no_memory_and_are_findings() {
    let good = built(&Plan::default());
    for (at, damaged) in [
        (12, Damage::Overflow { pages: 1 << 32 }),
        (8, Damage::Flags(0xffff)),
        (0, Damage::Id { found: u64::from(u32::MAX) }),
    ] {
        let mut bytes = good.clone();
        let length = if at == 8 { 2 } else { 4 };
        bytes[5 * PAGE + at..][..length].fill(0xff);
        assert_eq!(findings(bytes), [damage(5, damaged)]);
    }
    let mut bytes = good;
    bytes[5 * PAGE + 10..][..2].fill(0xff);
    assert!(matches!(findings(bytes)[..], [Finding::Page { page: 5, damage: Damage::Element { .. } }]));
}

#[test]
fn reading_a_tree_with_a_cycle_ends() {
    let good = built(&Plan { leaves: 300, ..Plan::default() });
    // Page 302 is the first branch, 305 its parent. The first child of 302 becomes 302 itself, then 305.
    for child in [302u64, 305, 3, u64::MAX, 0] {
        let mut bytes = good.clone();
        bytes[302 * PAGE + 16 + 8..][..8].copy_from_slice(&child.to_le_bytes());
        assert!(!findings(bytes).is_empty(), "{child}");
    }
}

#[test]
fn a_truncated_database_is_a_finding_and_its_rest_is_read() {
    let good = built(&Plan::default());
    for pages in [0, 1, 2, 3, 50, 290] {
        assert!(!findings(good[..pages * PAGE].to_vec()).is_empty(), "{pages}");
    }
    assert!(Database::open(&good[..100]).is_ok());
    assert!(Database::open(&good[..70]).is_err());
}

/// Counts the bytes that are read.
struct Counting<'b>(&'b [u8], Cell<u64>);

impl ReadAt for Counting<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.0.read_at(buffer, offset)?;
        self.1.set(self.1.get() + read as u64);
        Ok(read)
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
}

#[test]
fn a_long_page_with_many_parents_is_read_once() {
    let plan = Plan { leaves: 50, changes: 1, value: 1 << 20, ..Plan::default() };
    let mut bytes = built(&plan);
    // The branch is before the root, at the end of the file.
    let branch = bytes.len() - 2 * PAGE;
    let [first, second] = [2, 2 + ((1 << 20) / PAGE as u64 + 1)];
    for child in 0..50 {
        let page = [first, second][child % 2];
        bytes[branch + 16 + child * 16 + 8..][..8].copy_from_slice(&page.to_le_bytes());
    }
    let database = Database::open(Counting(&bytes, Cell::new(0))).unwrap();
    let findings = scan(&database, |_| ControlFlow::Continue(())).unwrap();
    let twice = (0..48).map(|child| damage([first, second][child % 2], Damage::Twice));
    assert_eq!(findings.kept, twice.collect::<Vec<_>>());
    assert!(database.source().1.get() < 4 << 20, "{} bytes were read", database.source().1.get());
}

#[test]
fn a_file_with_a_trailer_and_metas_of_different_transactions_is_not_a_copy() {
    let mut bytes = built(&Plan::default());
    let pages = (bytes.len() / PAGE) as u64;
    bytes[PAGE..2 * PAGE].copy_from_slice(&meta(1, pages - 1, NO_FREELIST, pages, 5));
    assert_eq!(findings(bytes.clone()), [Finding::MetasDisagree]);
    assert_eq!(walk(&bytes, &mut ()).unwrap().findings, []);
}

#[test]
fn a_database_without_the_bucket_of_keys_is_a_finding() {
    let entry = [&[0; 16], &leaf(0, &[(0, b"k".to_vec(), b"v".to_vec())], false)[..]].concat();
    let root = leaf(2, &[(1, b"other".to_vec(), entry)], true);
    let bytes = [meta(0, 2, NO_FREELIST, 3, 8), meta(1, 2, NO_FREELIST, 3, 7), root].concat();
    let database = Database::open(&bytes).unwrap();
    let findings = scan(&database, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(findings.kept, [Finding::NoBucket { bucket: "key" }]);
}
