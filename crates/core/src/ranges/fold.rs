//! Writes many names as few patterns: `node01`, `node02`, `node03` as `node[01:03]`.

use std::collections::{BTreeMap, BTreeSet};

/// The maximum number of digits of a range's ends.
const MAX_DIGITS: usize = 9;
/// The maximum length of a run, so that its pattern can be expanded again.
const MAX_RUN: usize = super::MAX_HOSTS;
/// Two letters that are neighbours by chance, `m1` and `n1`, are not a range.
const MIN_LETTERS: usize = 3;

/// A name without one of its numbers or of the last letters of its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Gap<'a> {
    before: &'a str,
    after: &'a str,
    /// Of numbers with leading zeros; 0 for others and for letters.
    width: usize,
    is_letter: bool,
}

/// By the value in the gap: the text there.
type Members<'a> = BTreeMap<u32, &'a str>;

/// The patterns that expand to these names, in the order of their first ones.
pub fn fold<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    let mut members: BTreeMap<Gap<'_>, Members<'_>> = BTreeMap::new();
    for name in &names {
        for (gap, value, text) in gaps(name) {
            members.entry(gap).or_default().insert(value, text);
        }
    }
    let mut lengths: BTreeMap<(Gap<'_>, u32), usize> = BTreeMap::new();
    for (gap, values) in &members {
        for run in runs(values) {
            let length = run.len();
            lengths.extend(run.into_iter().map(|(value, _)| ((*gap, value), length)));
        }
    }
    // Each name goes to the gap in which its run is the longest.
    let mut chosen: BTreeMap<Gap<'_>, Members<'_>> = BTreeMap::new();
    let mut patterns = Vec::new();
    for name in &names {
        let best = gaps(name).into_iter().max_by_key(|(gap, value, _)| {
            (
                lengths[&(*gap, *value)],
                !gap.is_letter,
                gap.width == 0,
                !gap.before.contains('.'),
                gap.before.len(),
            )
        });
        match best {
            Some((gap, value, text)) => _ = chosen.entry(gap).or_default().insert(value, text),
            None => patterns.push((*name).to_owned()),
        }
    }
    for (gap, values) in &chosen {
        patterns.extend(runs(values).iter().flat_map(|run| written(gap, run)));
    }
    patterns.sort_by_cached_key(|pattern| natural(pattern));
    patterns
}

/// The pattern of a run, or its names where it is too short for one.
fn written(Gap { before, after, is_letter, .. }: &Gap<'_>, run: &[(u32, &str)]) -> Vec<String> {
    match run {
        [(_, first), .., (_, last)] if !is_letter || run.len() >= MIN_LETTERS => {
            vec![format!("{before}[{first}:{last}]{after}")]
        }
        names => names.iter().map(|(_, text)| format!("{before}{text}{after}")).collect(),
    }
}

/// Values that follow each other.
fn runs<'a>(values: &Members<'a>) -> Vec<Vec<(u32, &'a str)>> {
    let mut runs: Vec<Vec<(u32, &str)>> = Vec::new();
    for (value, text) in values {
        match runs.last_mut() {
            Some(run) if run.len() < MAX_RUN && run[run.len() - 1].0 + 1 == *value => {
                run.push((*value, text));
            }
            _ => runs.push(vec![(*value, text)]),
        }
    }
    runs
}

/// Every number and last letter of a word in a name, as the gap that is left without it, its value and its text.
fn gaps(name: &str) -> Vec<(Gap<'_>, u32, &str)> {
    let bytes = name.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let kind = |byte: &u8| (byte.is_ascii_digit(), byte.is_ascii_alphabetic());
        let length = bytes[at..].iter().take_while(|byte| kind(byte) == kind(&bytes[at])).count();
        let (before, text, after) = (&name[..at], &name[at..at + length], &name[at + length..]);
        let gap = |width, is_letter| Gap { before, after, width, is_letter };
        if bytes[at].is_ascii_alphabetic() {
            // The last letter of a word, as in `infra[a:c]`.
            let last = at + length - 1;
            let gap = Gap { before: &name[..last], after, width: 0, is_letter: true };
            found.push((gap, u32::from(bytes[last]), &name[last..=last]));
        } else if bytes[at].is_ascii_digit()
            && length <= MAX_DIGITS
            && let Ok(value) = text.parse()
        {
            // `10` may follow `9` as well as `09`.
            let is_padded = text.starts_with('0') && length > 1;
            if !is_padded {
                found.push((gap(0, false), value, text));
            }
            if length > 1 {
                found.push((gap(length, false), value, text));
            }
        }
        at += length;
    }
    found
}

/// Sorts `node2` before `node10`.
fn natural(name: &str) -> Vec<(String, u32)> {
    let mut parts = vec![(String::new(), 0u32)];
    for c in name.chars() {
        let last = parts.len() - 1;
        match c.to_digit(10) {
            Some(digit) => parts[last].1 = parts[last].1.saturating_mul(10).saturating_add(digit),
            None if parts[last].1 > 0 => parts.push((c.to_string(), 0)),
            None => parts[last].0.push(c),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::super::expand;
    use super::*;

    #[test]
    fn names_fold_back_to_the_patterns_that_an_operator_writes() {
        for patterns in [
            &["master[1:3].example.com"][..],
            &["infra[1:2].example.com", "node[01:40].example.com"],
            &["n[08:12]"],
            &["node[1:12].dc1.example.com", "node[1:12].dc2.example.com"],
            &["rack1-node[1:2]", "rack2-node[1:2]"],
            &["etcd-[a:c].example.com", "infra[a:c].example.com"],
            &["etcd", "master", "node"],
            &["e1", "m1", "n1"],
            &["10.0.0.[1:3]"],
            &["a", "n1", "n[3:4]", "n9"],
            &["n[098:101]"],
            &["n99999999999", "n99999999998"],
        ] {
            let names: Vec<String> = patterns.iter().flat_map(|pattern| expand(pattern).unwrap()).collect();
            let mut folded = fold(names.iter().map(String::as_str));
            let mut expected: Vec<_> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            folded.sort();
            expected.sort();
            assert_eq!(folded, expected);
        }
        assert_eq!(fold(["n10", "n2", "n2", "a"]), ["a", "n2", "n10"]);
    }

    proptest! {
        #[test]
        fn what_is_folded_expands_to_the_same_names(names in proptest::collection::btree_set("[ab]{1,2}(0{0,2}[0-9]{1,2}){0,2}[.-]?[xy0-2]", 0..60)) {
            let folded = fold(names.iter().map(String::as_str));
            let mut expanded: Vec<String> = folded.iter().flat_map(|pattern| expand(pattern).unwrap()).collect();
            expanded.sort();
            prop_assert_eq!(expanded, names.into_iter().collect::<Vec<_>>());
        }
    }
}
