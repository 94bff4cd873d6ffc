//! The order in which the members' hosts take their snapshots: everybody works it out alone, and gets the same.

/// Followers by their id, the leader last, so that it is left alone where it can be. Learners have no turn of their
/// own and come after it.
pub fn turns(members: impl IntoIterator<Item = (u64, bool)>, leader: u64) -> Vec<u64> {
    let mut members: Vec<(u64, bool)> = members.into_iter().collect();
    members.sort_by_key(|(id, learner)| (*learner, *id == leader, *id));
    members.into_iter().map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followers_go_by_their_id_and_the_leader_last() {
        let members = [(7, false), (2, false), (5, false)];
        assert_eq!(turns(members, 2), [5, 7, 2]);
        assert_eq!(turns(members, 5), [2, 7, 5]);
        assert_eq!(turns(members, 0), [2, 5, 7], "without a leader by id alone");
    }

    #[test]
    fn a_learner_is_behind_even_the_leader_and_moves_nobody() {
        assert_eq!(turns([(1, true), (2, false), (3, false)], 2), [3, 2, 1]);
    }

    #[test]
    fn everybody_gets_the_same_however_the_members_are_listed() {
        let listed = [[(1, false), (2, false), (3, false)], [(3, false), (1, false), (2, false)]];
        assert_eq!(turns(listed[0], 3), turns(listed[1], 3));
    }
}
