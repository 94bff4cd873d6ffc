//! Any damage to the pages of a real snapshot is found, or changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use nightshift_snapshot::{Fingerprint, KeyValue, Pass, Report, Revision, RevisionKey, walk};
use proptest::prelude::*;
use support::{fixture, sealed};

const PAGE: usize = 4096;

#[derive(Debug, Clone)]
enum Harm {
    Flip { at: usize, with: u8 },
    Truncate { to: usize },
    Duplicate { from: usize, to: usize },
    Swap { one: usize, other: usize },
    Zero { page: usize },
    Cut { page: usize },
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (any::<usize>(), 1..=u8::MAX).prop_map(|(at, with)| Harm::Flip { at, with }),
        any::<usize>().prop_map(|to| Harm::Truncate { to }),
        any::<(usize, usize)>().prop_map(|(from, to)| Harm::Duplicate { from, to }),
        any::<(usize, usize)>().prop_map(|(one, other)| Harm::Swap { one, other }),
        any::<usize>().prop_map(|page| Harm::Zero { page }),
        any::<usize>().prop_map(|page| Harm::Cut { page }),
    ]
}

/// The positions of pages. Between them are the inner parts of large values, which only the trailer protects.
fn pages(bytes: &[u8]) -> Vec<usize> {
    let units = bytes.chunks_exact(PAGE).enumerate();
    units
        .filter(|(number, unit)| unit[..8] == (*number as u64).to_le_bytes())
        .map(|(number, _)| number)
        .collect()
}

fn apply(harm: &Harm, bytes: &mut Vec<u8>) {
    let pages = pages(bytes);
    let length = bytes.len().max(1);
    let page = |number: &usize| {
        let start = pages.get(number % pages.len().max(1)).map_or(0, |page| page * PAGE);
        start..start + PAGE
    };
    match harm {
        Harm::Flip { at, with } => {
            if let Some(byte) = bytes.get_mut(at % length) {
                *byte ^= with;
            }
        }
        Harm::Truncate { to } => bytes.truncate(to % length),
        _ if pages.is_empty() => {}
        Harm::Duplicate { from, to } => bytes.copy_within(page(from), page(to).start),
        Harm::Swap { one, other } => {
            let copy = bytes[page(one)].to_vec();
            bytes.copy_within(page(other), page(one).start);
            bytes[page(other)].copy_from_slice(&copy);
        }
        Harm::Zero { page: number } => bytes[page(number)].fill(0),
        Harm::Cut { page: number } => drop(bytes.drain(page(number))),
    }
}

fn pass(bytes: &[u8], chunk: usize) -> Report {
    let mut pass = Pass::default();
    bytes.chunks(chunk).for_each(|chunk| pass.update(chunk));
    pass.finish()
}

/// What is cut to whole pages and has a sound meta can be a member's database, which has no trailer; only a reader of whole files
/// takes it for one, and says so.
fn is_copy(report: &Report) -> bool {
    report.fingerprint == Fingerprint::Copy
}

/// The report without the values that depend on free pages.
fn comparable(report: &Report) -> Report {
    Report { sha256: [0; 32], ..report.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_to_pages_is_found_or_changes_nothing(
        name in prop::sample::select(vec!["3.4-history", "3.5-history", "3.4-free", "3.5-auth"]),
        harms in prop::collection::vec(harm(), 1..4),
        chunk in 1usize..100_000,
    ) {
        let good = fixture(name).bytes;
        let mut bad = good[..good.len() - 32].to_vec();
        for harm in &harms {
            apply(harm, &mut bad);
        }
        // With the original trailer, then with one that matches the damaged content.
        let kept = [&bad[..], &good[good.len() - 32..]].concat();
        if kept != good {
            prop_assert!(!pass(&kept, chunk).is_sound());
            let walked = walk(&kept, &mut ()).unwrap();
            prop_assert!(!walked.is_sound() || is_copy(&walked));
        }
        let bad = sealed([&bad[..], &[0; 32]].concat());
        let passed = pass(&bad, chunk);
        let mut walked = walk(&bad, &mut ()).unwrap();
        prop_assume!(!is_copy(&walked));
        prop_assert_eq!(passed.is_sound(), walked.is_sound(), "{:?}\n{:?}", passed.findings, walked.findings);
        if walked.is_sound() {
            let hash = walked.facts.hash.take();
            prop_assert_eq!(comparable(&passed), comparable(&walked));
            // A flipped byte in a value results in another sound database.
            let flipped = harms.iter().any(|harm| matches!(harm, Harm::Flip { .. }));
            let unharmed = walk(&good, &mut ()).unwrap();
            prop_assert!(flipped || hash == unharmed.facts.hash);
        }
    }

    #[test]
    fn no_input_makes_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        prop_assert!(!pass(&bytes, 1000).is_sound());
        prop_assert!(!walk(&bytes, &mut ()).unwrap().is_sound());
        let _ = KeyValue::parse(&bytes);
    }

    #[test]
    fn revisions_have_the_order_of_their_bytes(one in (0..1u64 << 63, 0..1u64 << 63), other in (0..1u64 << 63, 0..1u64 << 63)) {
        let [one, other] = [one, other].map(|(main, sub)| Revision { main, sub });
        prop_assert_eq!(one.cmp(&other), one.to_bytes().cmp(&other.to_bytes()));
        let parsed = RevisionKey::parse(&one.to_bytes());
        prop_assert_eq!(parsed, Some(RevisionKey { revision: one, tombstone: false }));
    }
}
