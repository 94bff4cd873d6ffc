//! Compares the index with a map in memory.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::diff::{Difference, diff};
use crate::key_value::KeyValue;
use crate::prefixes::{Count, Prefixes};
use crate::revision::Revision;

/// A change in a test: a key, and a value or a deletion.
type Op = (u8, Option<u8>);

fn key(number: u8) -> Vec<u8> {
    let kind = ["pods", "secrets", "services/specs"][usize::from(number % 3)];
    format!("/registry/{kind}/ns{}/name-{number}", number % 4).into_bytes()
}

fn value(number: u8) -> Vec<u8> {
    vec![number; usize::from(number % 7) * 10]
}

/// An index of these changes, one per revision, with this many bytes of memory.
fn index(ops: &[Op], memory: usize) -> KeyIndex {
    let directory = std::env::temp_dir();
    let mut builder = IndexBuilder::new(IndexOptions { directory, memory, hash_values: true });
    for (main, (number, change)) in (2..).zip(ops) {
        let (key, value) = (key(*number), change.map(value).unwrap_or_default());
        let content = KeyValue { key: &key, value: &value, lease: 7, ..KeyValue::default() };
        let revision = Revision { main, sub: 0 };
        builder.push(&Change { revision, tombstone: change.is_none(), content }).unwrap();
    }
    builder.finish().unwrap()
}

/// The existing keys after these changes, with their revision and value.
fn model(ops: &[Op]) -> BTreeMap<Vec<u8>, (u64, Vec<u8>)> {
    let mut live = BTreeMap::new();
    for (main, (number, change)) in (2..).zip(ops) {
        match change {
            Some(change) => live.insert(key(*number), (main, value(*change))),
            None => live.remove(&key(*number)),
        };
    }
    live
}

fn live(index: &KeyIndex, prefix: &[u8]) -> Vec<Key> {
    index.live(prefix).unwrap().collect::<Result<_, _>>().unwrap()
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec((0u8..30, proptest::option::weighted(0.8, 0u8..40)), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_index_with_runs_on_disk_is_the_same_as_one_in_memory(ops in ops(), memory in 1usize..4000) {
        let (spilled, whole) = (index(&ops, memory), index(&ops, 16 << 20));
        let all = |index: &KeyIndex| index.entries().unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        let entries = all(&spilled);
        prop_assert_eq!(&entries, &all(&whole));
        prop_assert_eq!(entries.len(), ops.len());
        prop_assert!(entries.is_sorted_by_key(|entry| (entry.key.clone(), entry.revision)));
        let found: BTreeMap<_, _> = live(&spilled, b"").into_iter()
            .map(|key| (key.newest.key.clone(), (key.newest.revision.main, key.newest.value_size as usize)))
            .collect();
        let wanted: BTreeMap<_, _> =
            model(&ops).into_iter().map(|(key, (main, value))| (key, (main, value.len()))).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn a_prefix_selects_exactly_its_keys(ops in ops(), number in 0u8..30, cut in 0usize..30) {
        let mut prefix = key(number);
        prefix.truncate(cut);
        let found: Vec<_> = live(&index(&ops, 2000), &prefix).into_iter().map(|key| key.newest.key).collect();
        let wanted: Vec<_> = model(&ops).into_keys().filter(|key| key.starts_with(&prefix)).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn the_difference_is_the_same_as_a_comparison_of_all_values(a in ops(), b in ops(), memory in 1usize..4000) {
        let (before, after) = (model(&a), model(&b));
        let value = |map: &BTreeMap<Vec<u8>, (u64, Vec<u8>)>, key: &[u8]| map.get(key).map(|(_, value)| value.clone());
        let mut keys: Vec<_> = before.keys().chain(after.keys()).cloned().collect();
        keys.sort();
        keys.dedup();
        keys.retain(|key| value(&before, key) != value(&after, key));
        let (a, b) = (index(&a, memory), index(&b, 16 << 20));
        let changes: Vec<Difference> = diff(&a, &b, b"").unwrap().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(changes.iter().map(|change| change.key().to_vec()).collect::<Vec<_>>(), keys);
        for change in &changes {
            let sides = (value(&before, change.key()).is_some(), value(&after, change.key()).is_some());
            let wanted = match change {
                Difference::Added(_) => (false, true),
                Difference::Removed(_) => (true, false),
                Difference::Changed { .. } => (true, true),
            };
            prop_assert_eq!(sides, wanted);
        }
    }

    #[test]
    fn the_counts_of_all_prefixes_add_up_to_the_total(ops in ops()) {
        let prefixes = Prefixes::of(&index(&ops, 1000)).unwrap();
        let sum = |counts: &mut dyn Iterator<Item = Count>| counts.fold(Count::default(), Count::plus);
        prop_assert_eq!(sum(&mut prefixes.by_prefix.values().map(|prefix| prefix.total)), prefixes.total);
        for prefix in prefixes.by_prefix.values() {
            prop_assert_eq!(sum(&mut prefix.namespaces.values().copied()), prefix.total);
        }
        let pods = model(&ops).into_keys().filter(|key| key.starts_with(b"/registry/pods/")).count();
        let counted = prefixes.by_prefix.get(b"/registry/pods".as_slice());
        prop_assert_eq!(counted.map_or(0, |prefix| prefix.total.keys), pods as u64);
    }
}

#[test]
fn many_runs_are_merged_level_by_level() {
    let ops: Vec<Op> =
        (0..FAN_IN * FAN_IN * 2 + 40).map(|n| ((n % 30) as u8, Some((n % 40) as u8))).collect();
    let index = index(&ops, 1);
    assert!(index.runs.len() <= FAN_IN && index.runs.len() > 1, "{}", index.runs.len());
    assert_eq!(index.entries().unwrap().count(), ops.len());
    assert_eq!(live(&index, b"").len(), model(&ops).len());
}

#[test]
fn indexes_without_hashes_cannot_be_compared() {
    let options = IndexOptions::in_directory(std::env::temp_dir());
    let bare = IndexBuilder::new(options).finish().unwrap();
    assert!(matches!(diff(&bare, &index(&[], 1), b"").map(drop), Err(IndexError::Unhashed)));
}

#[test]
fn the_error_for_a_missing_directory_contains_its_path() {
    let mut builder =
        IndexBuilder::new(IndexOptions { memory: 1, ..IndexOptions::in_directory("/not/there") });
    let revision = Revision { main: 2, sub: 0 };
    let change = Change { revision, tombstone: false, content: KeyValue::default() };
    builder.push(&change).unwrap();
    let error = builder.push(&change).unwrap_err();
    assert!(error.to_string().contains("/not/there"), "{error}");
}
