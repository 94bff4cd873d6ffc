//! Whether an etcd snapshot is plausible compared with the last good one of the same host: a verified snapshot may still
//! contain much less than it should, for example after an etcd was started with an empty data directory.

use crate::etcd_facts::EtcdFacts;

/// Why `now` is implausible compared with `before`, one reason each. `below` is the minimum, in percent of the earlier
/// number of entries and bytes.
pub fn doubts(before: &EtcdFacts, now: &EtcdFacts, below: u8) -> Vec<String> {
    let mut doubts = Vec::new();
    if before.cluster_id != now.cluster_id {
        doubts.push(format!(
            "its cluster ID is {}, but that of the last good set is {}; was the cluster restored or rebuilt?",
            now.cluster_id, before.cluster_id
        ));
    }
    let (was, is) = (before.last_revision(), now.last_revision());
    if is < was {
        doubts.push(format!("its revision is {is}, lower than the {was} of the last good set"));
    }
    if before.snapshot.is_some() && now.snapshot.is_none() {
        doubts.push(
            "the entries of its snapshot are not counted, but those of the last good set are".to_owned(),
        );
    }
    if let (Some(before), Some(now)) = (&before.snapshot, &now.snapshot) {
        doubts.extend(shrunk("entries", before.entries, now.entries, below));
        doubts.extend(shrunk("bytes", before.size, now.size, below));
    } else {
        doubts.extend(shrunk("bytes", before.raw_size, now.raw_size, below));
    }
    doubts
}

fn shrunk(what: &str, before: u64, now: u64, below: u8) -> Option<String> {
    let least = u128::from(before) * u128::from(below);
    (u128::from(now) * 100 < least)
        .then(|| format!("it has {now} {what}, less than {below} % of the {before} in the last good set"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::etcd_facts::SnapshotFacts;
    use crate::text::{Lines, Text};

    fn facts(revision: i64, entries: u64, size: u64) -> EtcdFacts {
        EtcdFacts {
            cluster_id: "c1".into(),
            member_id: "a".into(),
            member_name: "e1".into(),
            revision,
            raft_term: 2,
            version: "3.4.23".into(),
            learner: false,
            leader: false,
            alarms: Lines::default(),
            raw_size: size + 32,
            raw_sha256: Digest::of(b""),
            checked: Text::default(),
            snapshot: Some(SnapshotFacts { revision, compacted: None, entries, revisions: entries, size }),
            agreement: None,
            data: None,
            service: None,
            members: Vec::new(),
        }
    }

    #[test]
    fn growth_no_change_and_half_the_size_are_plausible() {
        let before = facts(1000, 100, 10_000);
        for now in [before.clone(), facts(2000, 300, 90_000), facts(1000, 50, 5000)] {
            assert_eq!(doubts(&before, &now, 50), Vec::<String>::new());
        }
    }

    #[test]
    fn a_lower_revision_a_smaller_size_and_another_cluster_are_reported_with_both_values() {
        let before = facts(1000, 100, 10_000);
        let reported = |now: EtcdFacts| doubts(&before, &now, 50).join("; ");
        assert!(reported(facts(999, 100, 10_000)).contains("999, lower than the 1000 of the last good set"));
        assert!(reported(facts(1001, 49, 10_000)).contains("49 entries, less than 50 % of the 100"));
        assert!(reported(facts(1001, 100, 4999)).contains("4999 bytes, less than 50 % of the 10000"));
        let other = EtcdFacts { cluster_id: "c2".into(), ..before.clone() };
        assert!(reported(other).contains("c2, but that of the last good set is c1"));
        assert_eq!(doubts(&before, &facts(1, 1, 1), 50).len(), 3);
    }

    #[test]
    fn without_key_counts_the_sizes_of_the_snapshots_are_compared() {
        let before = EtcdFacts { snapshot: None, ..facts(1000, 100, 10_000) };
        assert_eq!(doubts(&before, &facts(1000, 1, 4000), 50).len(), 1);
        let uncounted = doubts(&facts(1000, 100, 10_000), &before, 50).join("; ");
        assert!(uncounted.contains("not counted"), "{uncounted}");
        assert_eq!(doubts(&before, &facts(1000, 1, 9000), 50).len(), 0);
        assert_eq!(doubts(&before, &facts(1000, 1, 4000), 0).len(), 0, "0 % turns it off");
    }
}
