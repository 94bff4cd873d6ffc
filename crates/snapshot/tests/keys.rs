//! Lists, looks up and compares the keys of snapshots of real etcds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use nightshift_snapshot::{
    Database, Difference, IndexOptions, KeyIndex, compacted, diff, get, history, scan, survey,
};
use support::{fixture, fixtures, sealed};

/// Writes a run after every few keys.
fn options() -> IndexOptions {
    IndexOptions { memory: 500, ..IndexOptions::in_directory(std::env::temp_dir()) }.with_hashes()
}

fn index(bytes: &Vec<u8>) -> KeyIndex {
    let (index, findings) = KeyIndex::of(&Database::open(bytes).unwrap(), options()).unwrap();
    assert!(findings.kept.is_empty(), "{findings:?}");
    index
}

/// The existing keys with their values, from all changes in memory.
fn model(bytes: &Vec<u8>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut live = BTreeMap::new();
    scan(&Database::open(bytes).unwrap(), |change| {
        let (key, value) = (change.content.key.to_vec(), change.content.value.to_vec());
        if change.tombstone {
            live.remove(&key)
        } else {
            live.insert(key, value)
        };
        ControlFlow::Continue(())
    })
    .unwrap();
    live
}

fn live(index: &KeyIndex, prefix: &str) -> Vec<String> {
    let keys = index.live(prefix.as_bytes()).unwrap();
    keys.map(|key| String::from_utf8(key.unwrap().newest.key).unwrap()).collect()
}

#[test]
fn the_index_of_every_fixture_contains_the_existing_keys_and_each_value_is_found() {
    for fixture in fixtures() {
        let wanted = model(&fixture.bytes);
        let index = index(&fixture.bytes);
        let keys: BTreeSet<Vec<u8>> = live(&index, "").into_iter().map(String::into_bytes).collect();
        assert_eq!(keys, wanted.keys().cloned().collect(), "{}", fixture.name);
        let database = Database::open(&fixture.bytes).unwrap();
        for (key, value) in &wanted {
            let found = get(&database, key, None).unwrap();
            assert_eq!(&found.value, value, "{}", fixture.name);
            assert!(!found.revision.unwrap().tombstone);
        }
        let (report, prefixes) = survey(&fixture.bytes, options()).unwrap();
        assert_eq!(report.facts.live_keys, Some(wanted.len() as u64), "{}", fixture.name);
        assert_eq!(report.facts.revisions, Some(prefixes.total.revisions), "{}", fixture.name);
    }
}

#[test]
fn a_key_has_its_value_of_any_revision() {
    for version in ["3.4", "3.5"] {
        let fixture = fixture(&format!("{version}-history"));
        let database = Database::open(&fixture.bytes).unwrap();
        // Written by the second and the twenty-second change, then deleted in a transaction together with its team.
        let key = b"/kubernetes.io/configmaps/team2/map2";
        let mut revisions = Vec::new();
        history(&database, key, |revision| {
            revisions.push((revision.revision.main, revision.tombstone, revision.version));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(revisions.first().map(|first| (first.1, first.2)), Some((false, 1)));
        assert!(revisions.is_sorted() && revisions.len() >= 2, "{revisions:?}");
        for pair in revisions.windows(2) {
            let found = get(&database, key, Some(pair[1].0 - 1)).unwrap();
            assert_eq!(found.revision.unwrap().revision.main, pair[0].0);
        }
        let before = get(&database, key, Some(revisions[0].0 - 1)).unwrap();
        assert_eq!(before.revision, None);
        assert_eq!(get(&database, b"/kubernetes.io/configmaps/team2", None).unwrap().revision, None);
    }
}

#[test]
fn the_compacted_revision_is_read() {
    for (name, revision) in [("3.4-compacted", Some(60)), ("3.5-compacted", Some(60)), ("3.4-few", None)] {
        let fixture = fixture(name);
        assert_eq!(compacted(&Database::open(&fixture.bytes).unwrap()).unwrap(), revision, "{name}");
    }
}

#[test]
fn the_difference_of_two_snapshots_is_the_keys_with_different_values() {
    let (few, history) = (fixture("3.4-few"), fixture("3.4-history"));
    let (before, after) = (model(&few.bytes), model(&history.bytes));
    let (a, b) = (index(&few.bytes), index(&history.bytes));
    let mut wanted: BTreeSet<&Vec<u8>> = before.keys().chain(after.keys()).collect();
    wanted.retain(|key| before.get(*key) != after.get(*key));
    let differences: Vec<Difference> = diff(&a, &b, b"").unwrap().map(Result::unwrap).collect();
    let keys: BTreeSet<Vec<u8>> = differences.iter().map(|difference| difference.key().to_vec()).collect();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(diff(&a, &a, b"").unwrap().count(), 0, "no difference to itself");

    // The same changes in another etcd result in the same keys, except for the one with random bytes.
    let newer = index(&fixture("3.5-history").bytes);
    let others: Vec<_> = diff(&b, &newer, b"").unwrap().map(|one| one.unwrap().key().to_vec()).collect();
    assert_eq!(others, [b"/kubernetes.io/big/one".to_vec()]);
}

#[test]
fn one_changed_byte_of_a_value_is_a_difference() {
    let fixture = fixture("3.4-few");
    let mut other = fixture.bytes.clone();
    // Free pages contain it too.
    let places: Vec<usize> =
        (0..other.len()).filter(|at| other[*at..].starts_with(b"{\"kind\":\"Pod")).collect();
    places.into_iter().for_each(|at| other[at + 9] = b'G');
    let (a, b) = (index(&fixture.bytes), index(&sealed(other)));
    let differences: Vec<Difference> = diff(&a, &b, b"").unwrap().map(Result::unwrap).collect();
    assert!(
        matches!(&differences[..], [Difference::Changed { after, .. }] if after.newest.key == b"/kubernetes.io/pods/default/web")
    );
}

#[test]
fn keys_are_counted_by_prefix_and_namespace() {
    let fixture = fixture("3.4-history");
    let (_, prefixes) = survey(&fixture.bytes, options()).unwrap();
    let maps = &prefixes.by_prefix[b"/kubernetes.io/configmaps".as_slice()];
    let names: Vec<_> =
        maps.namespaces.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(names, ["team0", "team1", "team2"]);
    assert_eq!(maps.namespaces[b"team1".as_slice()].keys, 0, "all of its keys were deleted");
    let wanted = model(&fixture.bytes).into_keys();
    let wanted = wanted.filter(|key| key.starts_with(b"/kubernetes.io/configmaps/")).count();
    assert_eq!(maps.total.keys, wanted as u64);
}

#[test]
fn damaged_parts_are_skipped_and_reported() {
    let fixture = fixture("3.4-history");
    let mut other = fixture.bytes.clone();
    let database = Database::open(&fixture.bytes).unwrap();
    let mut cursor = database.cursor(&database.bucket(b"key").unwrap().unwrap()).unwrap();
    let page = cursor.next().unwrap().unwrap().at.page;
    other[page as usize * 4096] ^= 0xff;
    let (index, findings) = KeyIndex::of(&Database::open(&other).unwrap(), options()).unwrap();
    assert!(!findings.kept.is_empty());
    assert!(index.live(b"").unwrap().count() < model(&fixture.bytes).len());
}
