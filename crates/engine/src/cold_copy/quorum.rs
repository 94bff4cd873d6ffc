//! Whose turn it is, and whether the others can do without it.

use nightshift_core::night::Night;

use nightshift_etcd::hex;

/// A member, as it looked just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub id: u64,
    pub name: String,
    pub learner: bool,
    /// Why it does not count as healthy; `None` where it does.
    pub trouble: Option<String>,
}

impl Seen {
    pub fn called(&self) -> String {
        if self.name.is_empty() { hex(self.id) } else { self.name.clone() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this member is a learner: it votes for nothing, and may lag")]
    Learner,
    #[error("this host's member is not in its own cluster's list")]
    NotListed,
    #[error(
        "of {voting} voting members {quorum} must run, so none may be stopped: a cold copy takes a cluster of one, or of \
         three and more"
    )]
    NoneToSpare { voting: usize, quorum: usize },
    #[error("the member {member} is not healthy, so no other is stopped: {trouble}")]
    Unwell { member: String, trouble: String },
}

/// The member that is stopped in this night: each voting one in turn, in the order of their ids.
pub fn turn(members: &[Seen], night: Night) -> Option<&Seen> {
    let mut voting: Vec<&Seen> = members.iter().filter(|member| !member.learner).collect();
    voting.sort_by_key(|member| member.id);
    let length = i64::try_from(voting.len()).ok().filter(|length| *length > 0)?;
    let index = usize::try_from(number(night).rem_euclid(length)).ok()?;
    voting.get(index).copied()
}

/// The days from 1970 on: the same on every host, and one more each night.
fn number(night: Night) -> i64 {
    let epoch = jiff::civil::date(1970, 1, 1);
    i64::from(epoch.until(night.date).map_or(0, |span| span.get_days()))
}

/// Whether this member may be stopped now: every other one is healthy, and enough of them are left to vote. A cluster of
/// one has nobody to ask and none to spare: whoever opted in wants it stopped.
pub fn permit(members: &[Seen], own: u64) -> Result<(), Refusal> {
    let this = members.iter().find(|member| member.id == own).ok_or(Refusal::NotListed)?;
    if this.learner {
        return Err(Refusal::Learner);
    }
    let voting = members.iter().filter(|member| !member.learner).count();
    let quorum = voting / 2 + 1;
    if voting > 1 && voting - 1 < quorum {
        return Err(Refusal::NoneToSpare { voting, quorum });
    }
    for member in members.iter().filter(|member| !member.learner) {
        if let Some(trouble) = &member.trouble {
            return Err(Refusal::Unwell { member: member.called(), trouble: trouble.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn members(ids: &[u64]) -> Vec<Seen> {
        ids.iter().map(|id| Seen { id: *id, name: format!("e{id}"), learner: false, trouble: None }).collect()
    }

    fn night(text: &str) -> Night {
        text.parse().unwrap()
    }

    #[test]
    fn each_member_has_its_turn_in_the_order_of_ids_whatever_order_they_are_listed_in() {
        let turns = |listed: &[u64]| {
            let nights = ["2026-11-22", "2026-11-23", "2026-11-24", "2026-11-25"];
            nights.map(|date| turn(&members(listed), night(date)).unwrap().id)
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
    fn a_turn_does_not_stand_still_at_the_ends_of_months_and_years() {
        let numbers =
            ["2026-12-31", "2027-01-01", "2027-02-28", "2027-03-01"].map(|date| number(night(date)));
        assert_eq!(numbers[1] - numbers[0], 1);
        assert_eq!(numbers[3] - numbers[2], 1);
        assert_eq!(number(night("1970-01-02")), 1);
    }

    #[test]
    fn a_learner_has_no_turn() {
        let mut listed = members(&[1, 2, 3, 4]);
        listed[0].learner = true;
        for day in 1..9 {
            assert_ne!(turn(&listed, night(&format!("2026-11-0{day}"))).unwrap().id, 1);
        }
        assert_eq!(permit(&listed, 1), Err(Refusal::Learner));
    }

    #[test]
    fn none_is_stopped_whom_the_others_cannot_do_without() {
        for (count, permitted) in [(1, true), (2, false), (3, true), (4, true), (5, true)] {
            let ids: Vec<u64> = (1..=count).collect();
            assert_eq!(permit(&members(&ids), 1).is_ok(), permitted, "{count}");
        }
        // Learners do not make a quorum.
        let mut listed = members(&[1, 2, 3]);
        listed[2].learner = true;
        assert_eq!(permit(&listed, 1), Err(Refusal::NoneToSpare { voting: 2, quorum: 2 }));
    }

    #[test]
    fn none_is_stopped_while_another_is_unwell() {
        let mut listed = members(&[1, 2, 3, 4, 5]);
        listed[3].trouble = Some("nothing listens".into());
        let refusal = permit(&listed, 1).unwrap_err().to_string();
        assert!(refusal.contains("e4") && refusal.contains("nothing listens"), "{refusal}");
        assert_eq!(permit(&listed, 9), Err(Refusal::NotListed));
    }
}
