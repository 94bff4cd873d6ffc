//! The order in which the members' hosts take their snapshots. Each host computes it alone, and all get the same.

use nightshift_core::etcd_facts::MemberId;

/// Followers by their id, then the leader, so that it is left alone if possible, then learners, which take no snapshot.
pub fn order(members: impl IntoIterator<Item = (MemberId, bool)>, leader: MemberId) -> Vec<MemberId> {
    let mut members: Vec<(MemberId, bool)> = members.into_iter().collect();
    members.sort_by_key(|(id, learner)| (*learner, *id == leader, *id));
    members.into_iter().map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(members: &[(u64, bool)], leader: u64) -> Vec<u64> {
        let members = members.iter().map(|(id, learner)| (MemberId(*id), *learner));
        order(members, MemberId(leader)).into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn followers_are_ordered_by_their_id_and_the_leader_is_last() {
        let members = [(7, false), (2, false), (5, false)];
        assert_eq!(ordered(&members, 2), [5, 7, 2]);
        assert_eq!(ordered(&members, 5), [2, 7, 5]);
        assert_eq!(ordered(&members, 0), [2, 5, 7], "without a leader by id alone");
    }

    #[test]
    fn a_learner_comes_after_the_leader() {
        assert_eq!(ordered(&[(1, true), (2, false), (3, false)], 2), [3, 2, 1]);
    }

    #[test]
    fn the_order_does_not_depend_on_how_the_members_are_listed() {
        let listed = [[(1, false), (2, false), (3, false)], [(3, false), (1, false), (2, false)]];
        assert_eq!(ordered(&listed[0], 3), ordered(&listed[1], 3));
    }
}
