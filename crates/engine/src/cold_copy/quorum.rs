//! Which member's turn it is, and whether the other members keep a quorum without it.

use nightshift_core::etcd_facts::MemberId;
use nightshift_core::night::Night;
use nightshift_etcd::client::Client;
use nightshift_etcd::health::Problem;

#[derive(Debug)]
pub struct SurveyedMember {
    pub id: MemberId,
    /// Its name, or its id if it has none.
    pub label: String,
    pub learner: bool,
    /// If it responded: its client and raft index.
    pub response: Option<(Client, u64)>,
    /// Why it does not count as healthy; `None` if it does.
    pub problem: Option<Problem>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this member is a learner: it does not vote, and its data may be old")]
    Learner,
    #[error("this host's member is not in the member list of its cluster")]
    NotListed,
    #[error(
        "cannot stop a member: quorum needs {quorum} of {voting} voting members (cold copies need 1 member, or 3 and more)"
    )]
    NoQuorum { voting: usize, quorum: usize },
    #[error("member {member} {problem}; no other member is stopped until it is healthy")]
    NotHealthy { member: String, problem: Problem },
}

/// The member that is stopped in this night: each voting one in turn, in the order of their ids.
pub fn turn(members: &[SurveyedMember], night: Night) -> Option<&SurveyedMember> {
    let mut voting: Vec<&SurveyedMember> = members.iter().filter(|member| !member.learner).collect();
    voting.sort_by_key(|member| member.id);
    night.turn(&voting).copied()
}

/// Whether this member may be stopped now: all others are healthy, and enough of them are left for a quorum. In a cluster of one
/// there are no others, and the operator who enabled cold copies accepts that it stops.
pub fn permit(members: &[SurveyedMember], own: MemberId) -> Result<(), Refusal> {
    let this = members.iter().find(|member| member.id == own).ok_or(Refusal::NotListed)?;
    if this.learner {
        return Err(Refusal::Learner);
    }
    let voting = members.iter().filter(|member| !member.learner).count();
    let quorum = voting / 2 + 1;
    if voting > 1 && voting - 1 < quorum {
        return Err(Refusal::NoQuorum { voting, quorum });
    }
    for member in members.iter().filter(|member| !member.learner) {
        if let Some(problem) = &member.problem {
            return Err(Refusal::NotHealthy { member: member.label.clone(), problem: problem.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn members(ids: &[u64]) -> Vec<SurveyedMember> {
        let member = |id: &u64| SurveyedMember {
            id: MemberId(*id),
            label: format!("e{id}"),
            learner: false,
            response: None,
            problem: None,
        };
        ids.iter().map(member).collect()
    }

    fn night(text: &str) -> Night {
        text.parse().unwrap()
    }

    #[test]
    fn each_member_has_its_turn_in_the_order_of_ids_in_whatever_order_they_are_listed() {
        let turns = |listed: &[u64]| {
            let nights = ["2026-11-22", "2026-11-23", "2026-11-24", "2026-11-25"];
            nights.map(|date| turn(&members(listed), night(date)).unwrap().id.0)
        };
        let listed = turns(&[30, 10, 20]);
        assert_eq!(listed, turns(&[10, 20, 30]));
        assert_eq!(listed[0], listed[3]);
        let mut three = listed[..3].to_vec();
        three.sort_unstable();
        assert_eq!(three, [10, 20, 30]);
        assert!(turn(&[], night("2026-11-22")).is_none());
    }

    #[test]
    fn a_learner_has_no_turn() {
        let mut listed = members(&[1, 2, 3, 4]);
        listed[0].learner = true;
        for day in 1..9 {
            assert_ne!(turn(&listed, night(&format!("2026-11-0{day}"))).unwrap().id, MemberId(1));
        }
        assert_eq!(permit(&listed, MemberId(1)), Err(Refusal::Learner));
    }

    #[test]
    fn no_member_is_stopped_that_the_quorum_needs() {
        for (count, permitted) in [(1, true), (2, false), (3, true), (4, true), (5, true)] {
            let ids: Vec<u64> = (1..=count).collect();
            assert_eq!(permit(&members(&ids), MemberId(1)).is_ok(), permitted, "{count}");
        }
        // Learners do not make a quorum.
        let mut listed = members(&[1, 2, 3]);
        listed[2].learner = true;
        assert_eq!(permit(&listed, MemberId(1)), Err(Refusal::NoQuorum { voting: 2, quorum: 2 }));
    }

    #[test]
    fn no_member_is_stopped_while_another_one_is_not_healthy() {
        let mut listed = members(&[1, 2, 3, 4, 5]);
        listed[3].problem = Some(Problem::NoResponse("nothing listens".into()));
        let refusal = permit(&listed, MemberId(1)).unwrap_err().to_string();
        assert!(refusal.contains("e4") && refusal.contains("nothing listens"), "{refusal}");
        assert_eq!(permit(&listed, MemberId(9)), Err(Refusal::NotListed));
    }
}
