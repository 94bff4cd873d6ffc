//! Damages every byte of a small real snapshot, with a trailer that matches the damaged content.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::io;

use nightshift_snapshot::{Change, Database, Facts, Location, Pass, Report, Visitor, walk};
use support::{Fixture, fixture, sealed};

fn pass(bytes: &[u8]) -> Report {
    let mut pass = Pass::default();
    bytes.chunks(32 << 10).for_each(|chunk| pass.update(chunk));
    pass.finish()
}

/// Everything that a restore reads.
#[derive(Debug, PartialEq)]
struct Content {
    facts: Facts,
    entries: Vec<(Vec<u8>, Vec<u8>)>,
}

fn content(bytes: &[u8]) -> Content {
    let facts = walk(&bytes, &mut ()).unwrap().facts;
    let database = Database::open(bytes).unwrap();
    let mut entries = Vec::new();
    let mut buckets = database.cursor(&database.root()).unwrap();
    while let Some(bucket) = buckets.next().unwrap() {
        let mut cursor = database.cursor(&bucket.bucket().unwrap()).unwrap();
        entries.push((bucket.key.to_vec(), Vec::new()));
        while let Some(entry) = cursor.next().unwrap() {
            entries.push((entry.key.to_vec(), entry.value.to_vec()));
        }
    }
    Content { facts, entries }
}

#[derive(Debug, Default)]
struct Tally {
    found: usize,
    without_effect: usize,
    /// The content of one entry changed; the structure is intact.
    other_entry: usize,
    /// A page number now refers to an older, complete page that was freed later. Nothing in the page shows this.
    older_page: usize,
}

/// Both readers find the damage, or it changes nothing that a restore reads, or the result is another sound database: then
/// only the trailer and the hash differ.
fn damage_every_byte(name: &str, patterns: &[u8]) -> Tally {
    let Fixture { bytes, .. } = fixture(name);
    let good = content(&bytes);
    let body = bytes.len() - 32;
    let mut tally = Tally::default();
    for at in 0..body {
        for pattern in patterns {
            let mut bad = bytes.clone();
            bad[at] ^= pattern;
            if at % 61 == 0 {
                assert!(!pass(&bad).is_sound() && !walk(&bad, &mut ()).unwrap().is_sound(), "{at}: trailer");
            }
            let bad = sealed(bad);
            let (passed, walked) = (pass(&bad), walk(&bad, &mut ()).unwrap());
            assert_eq!(
                passed.is_sound(),
                walked.is_sound(),
                "byte {at} ^ {pattern:#x}: {:?} against {:?}",
                passed.findings,
                walked.findings
            );
            if !walked.is_sound() {
                tally.found += 1;
                continue;
            }
            let now = content(&bad);
            if now == good {
                tally.without_effect += 1;
                continue;
            }
            assert_ne!(now.facts.hash, good.facts.hash, "byte {at} ^ {pattern:#x}");
            let changed = now.entries.iter().zip(&good.entries).filter(|(now, good)| now != good).count();
            if (now.entries.len(), changed) == (good.entries.len(), 1) {
                tally.other_entry += 1;
            } else {
                tally.older_page += 1;
            }
        }
    }
    println!("{name}: {tally:?}");
    assert!(tally.older_page <= 4, "{tally:?}");
    tally
}

#[test]
fn the_effect_of_every_damaged_byte_of_a_3_4_snapshot_is_known() {
    let tally = damage_every_byte("3.4-few", &[0x01, 0xff]);
    assert!(tally.found > 1000, "{tally:?}");
}

#[test]
fn the_effect_of_every_damaged_byte_of_a_3_5_snapshot_is_known() {
    let tally = damage_every_byte("3.5-compacted", &[0x01]);
    assert!(tally.found > 4000, "{tally:?}");
}

#[test]
fn a_visitor_gets_every_change_in_the_order_of_revisions() {
    #[derive(Default)]
    struct Seen(Vec<(u64, u64, bool)>);
    impl Visitor for Seen {
        fn change(&mut self, change: &Change<'_>, _: Location) -> io::Result<()> {
            self.0.push((change.revision.main, change.revision.sub, change.tombstone));
            Ok(())
        }
    }
    let mut seen = Seen::default();
    let report = walk(&fixture("3.4-history").bytes, &mut seen).unwrap();
    assert!(seen.0.is_sorted());
    assert_eq!(Some(seen.0.len() as u64), report.facts.revisions);
    let tombstones = seen.0.iter().filter(|(_, _, tombstone)| *tombstone).count();
    assert!(tombstones > 5 && Some(tombstones as u64) == report.facts.tombstones, "{report:?}");
}

#[test]
fn an_error_of_the_visitor_ends_the_walk() {
    struct Full;
    impl Visitor for Full {
        fn change(&mut self, _: &Change<'_>, _: Location) -> io::Result<()> {
            Err(io::Error::other("full"))
        }
    }
    assert_eq!(walk(&fixture("3.4-few").bytes, &mut Full).unwrap_err().to_string(), "full");
}
