//! A set of byte ranges of one file: which parts are already on the server's disk, and which are still to be sent.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Half-open byte ranges: sorted, disjoint, and joined if they touch. Stored as `[[start, end], …]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct RangeSet {
    ranges: Vec<Range<u64>>,
}

impl RangeSet {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn insert(&mut self, new: Range<u64>) {
        if new.start >= new.end {
            return;
        }
        let from = self.ranges.partition_point(|r| r.end < new.start);
        let to = self.ranges.partition_point(|r| r.start <= new.end);
        let touched = self.ranges.get(from..to).unwrap_or_default();
        let start = touched.first().map_or(new.start, |r| r.start.min(new.start));
        let end = touched.last().map_or(new.end, |r| r.end.max(new.end));
        self.ranges.splice(from..to, std::iter::once(start..end));
    }

    pub fn extend(&mut self, other: &RangeSet) {
        for range in &other.ranges {
            self.insert(range.clone());
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().cloned()
    }

    /// The total length of the ranges in bytes.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|r| r.end - r.start).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The end of the last range; 0 if there is none.
    pub fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |r| r.end)
    }

    /// Whether every byte of a file of that size is in the set.
    pub fn covers(&self, size: u64) -> bool {
        self.gaps(size).next().is_none()
    }

    /// The ranges that are missing of a file of that size, in order.
    pub fn gaps(&self, size: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        let starts = std::iter::once(0).chain(self.ranges.iter().map(|r| r.end));
        let ends = self.ranges.iter().map(|r| r.start).chain(std::iter::once(size));
        starts.zip(ends).map(move |(start, end)| start..end.min(size)).filter(|gap| gap.start < gap.end)
    }
}

impl FromIterator<Range<u64>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

/// Also used for reading a stored list: it is normalised, because it may have been edited.
impl From<Vec<(u64, u64)>> for RangeSet {
    fn from(pairs: Vec<(u64, u64)>) -> Self {
        pairs.into_iter().map(|(start, end)| start..end).collect()
    }
}

impl From<RangeSet> for Vec<(u64, u64)> {
    fn from(set: RangeSet) -> Self {
        set.ranges.into_iter().map(|r| (r.start, r.end)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let set = RangeSet::from(vec![(10, 20), (0, 5), (5, 10), (30, 40)]);
        assert_eq!(Vec::from(set.clone()), vec![(0, 20), (30, 40)]);
        assert_eq!(set.gaps(50).collect::<Vec<_>>(), vec![20..30, 40..50]);
        assert_eq!(set.bytes(), 30);
        assert_eq!(set.end(), 40);
        assert!(!set.covers(40));
        assert!(set.covers(20));
    }

    #[test]
    fn an_empty_file_is_covered_by_nothing() {
        assert!(RangeSet::new().covers(0));
        assert!(!RangeSet::new().covers(1));
    }

    #[test]
    fn a_stored_list_is_normalised_when_it_is_read() {
        let set: RangeSet = serde_json::from_str("[[5,9],[9,5],[0,6]]").unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), "[[0,9]]");
    }

    proptest! {
        #[test]
        fn it_contains_exactly_the_inserted_bytes(pairs in proptest::collection::vec((0u64..60, 0u64..60), 0..12)) {
            let mut bytes = [false; 60];
            for &(start, end) in &pairs {
                for at in start..end {
                    bytes[usize::try_from(at).unwrap()] = true;
                }
            }
            let set = RangeSet::from(pairs);
            prop_assert_eq!(set.bytes(), bytes.iter().filter(|b| **b).count() as u64);
            let missing: u64 = set.gaps(60).map(|g| g.end - g.start).sum();
            prop_assert_eq!(missing, bytes.iter().filter(|b| !**b).count() as u64);
            prop_assert!(set.gaps(60).flatten().all(|at| !bytes[usize::try_from(at).unwrap()]));
        }
    }
}
