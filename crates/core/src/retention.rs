//! What a vault keeps and what it may let go, each decision with its because.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::civil::Date;

use crate::name::HostName;
use crate::outcome::{Grade, Verdict};
use crate::role::Role;
use crate::set_path::SetId;

/// How many of the newest nights, weeks and months are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    pub nights: u16,
    pub weeks: u16,
    pub months: u16,
}

impl Keep {
    /// The longest that this policy reaches back, in days.
    fn reach(self) -> i64 {
        [i64::from(self.nights), i64::from(self.weeks) * 7, i64::from(self.months) * 31]
            .into_iter()
            .max()
            .unwrap_or(0)
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} nights, {} weeks, {} months", self.nights, self.weeks, self.months)
    }
}

/// A set as retention sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub set: SetId,
    pub grade: Grade,
    pub proved: bool,
}

/// Why a set stays or goes. The first reason that holds is the one given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    FromTheFuture,
    AmongNewest(u16),
    NightOfWeek { year: i16, week: i8 },
    NightOfMonth { year: i16, month: i8 },
    LastGood,
    NewestCopy,
    LastProved,
    BeyondPolicy(Keep),
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromTheFuture => f.write_str("its night lies in the future"),
            Self::AmongNewest(nights) => write!(f, "among the newest {nights} nights"),
            Self::NightOfWeek { year, week } => write!(f, "the night kept for week {year}-W{week:02}"),
            Self::NightOfMonth { year, month } => write!(f, "the night kept for {year}-{month:02}"),
            Self::LastGood => f.write_str("the last good set of this host and role"),
            Self::NewestCopy => f.write_str("the newest copy of this host and role, though not a good one"),
            Self::LastProved => f.write_str("the last proved set of this host and role"),
            Self::BeyondPolicy(keep) => write!(f, "beyond the policy of {keep}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub set: SetId,
    pub keep: bool,
    pub because: Because,
}

/// What the decisions rest on besides the sets themselves.
#[derive(Debug)]
pub struct Policy<'a> {
    pub today: Date,
    pub files: Keep,
    pub etcd: Keep,
    /// What each night was worth to the cluster, as far as it is known.
    pub nights: &'a BTreeMap<Date, Verdict>,
    /// Hosts that left the inventory: their last good set does not stay for ever.
    pub retired: &'a BTreeSet<HostName>,
}

/// Decides about every set, in the order in which they were given.
pub fn decide(candidates: &[Candidate], policy: &Policy<'_>) -> Vec<Decision> {
    let dates: BTreeSet<Date> = candidates
        .iter()
        .map(|candidate| candidate.set.night.date)
        .filter(|date| *date <= policy.today)
        .collect();
    let files = chosen_nights(&dates, policy.files, policy.nights);
    let etcd = chosen_nights(&dates, policy.etcd, policy.nights);
    let last_good = newest(candidates, policy.today, |candidate| candidate.grade == Grade::Good);
    let newest_copy = newest(candidates, policy.today, |candidate| candidate.grade.is_copy());
    let last_proved = newest(candidates, policy.today, |candidate| candidate.proved);

    candidates
        .iter()
        .map(|candidate| {
            let set = &candidate.set;
            let (keep, chosen) = match set.role {
                Role::Etcd => (policy.etcd, &etcd),
                Role::Master | Role::Node => (policy.files, &files),
            };
            let key = (&set.host, set.role);
            // A retired host's last sets go once they are older than anything the policy reaches.
            let expired = policy.retired.contains(&set.host)
                && set.night.date.until(policy.today).map_or(0, |span| i64::from(span.get_days()))
                    > keep.reach();
            let reason = if set.night.date > policy.today {
                Some(Because::FromTheFuture)
            } else if let Some(because) = chosen.get(&set.night.date) {
                Some(because.clone())
            } else if !expired && last_good.get(&key) == Some(&set) {
                Some(Because::LastGood)
            } else if !expired && newest_copy.get(&key) == Some(&set) {
                Some(Because::NewestCopy)
            } else if !expired && last_proved.get(&key) == Some(&set) {
                Some(Because::LastProved)
            } else {
                None
            };
            Decision {
                set: set.clone(),
                keep: reason.is_some(),
                because: reason.unwrap_or(Because::BeyondPolicy(keep)),
            }
        })
        .collect()
}

/// The nights that the policy keeps, each with its reason: chosen by date alone, so that every host of
/// the cluster keeps the same ones.
fn chosen_nights(
    dates: &BTreeSet<Date>,
    keep: Keep,
    worth: &BTreeMap<Date, Verdict>,
) -> BTreeMap<Date, Because> {
    let mut chosen = BTreeMap::new();
    for date in dates.iter().rev().take(keep.nights.into()) {
        chosen.insert(*date, Because::AmongNewest(keep.nights));
    }
    let mut weeks: BTreeMap<(i16, i8), Vec<Date>> = BTreeMap::new();
    let mut months: BTreeMap<(i16, i8), Vec<Date>> = BTreeMap::new();
    for date in dates {
        let iso = date.iso_week_date();
        weeks.entry((iso.year(), iso.week())).or_default().push(*date);
        months.entry((date.year(), date.month())).or_default().push(*date);
    }
    for ((year, week), dates) in weeks.into_iter().rev().take(keep.weeks.into()) {
        if let Some(date) = best_night(&dates, worth) {
            chosen.entry(date).or_insert(Because::NightOfWeek { year, week });
        }
    }
    for ((year, month), dates) in months.into_iter().rev().take(keep.months.into()) {
        if let Some(date) = best_night(&dates, worth) {
            chosen.entry(date).or_insert(Because::NightOfMonth { year, month });
        }
    }
    chosen
}

/// The newest complete night, else the newest restorable, else the newest.
fn best_night(dates: &[Date], worth: &BTreeMap<Date, Verdict>) -> Option<Date> {
    dates.iter().copied().max_by_key(|date| (worth.get(date).copied(), *date))
}

/// For each host and role, the newest set that qualifies; of one night the highest attempt.
fn newest(
    candidates: &[Candidate],
    today: Date,
    qualifies: impl Fn(&Candidate) -> bool,
) -> BTreeMap<(&HostName, Role), &SetId> {
    let mut newest: BTreeMap<(&HostName, Role), &SetId> = BTreeMap::new();
    for candidate in
        candidates.iter().filter(|candidate| candidate.set.night.date <= today && qualifies(candidate))
    {
        let set = &candidate.set;
        newest
            .entry((&set.host, set.role))
            .and_modify(|best| {
                if (set.night, set.attempt) > (best.night, best.attempt) {
                    *best = set;
                }
            })
            .or_insert(set);
    }
    newest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::night::Night;
    use jiff::ToSpan;
    use jiff::civil::date;

    const FILES: Keep = Keep { nights: 7, weeks: 4, months: 6 };
    const ETCD: Keep = Keep { nights: 3, weeks: 2, months: 0 };

    fn set(host: &str, date: Date, role: Role, grade: Grade) -> Candidate {
        Candidate { set: SetId::first(host.parse().unwrap(), Night::of(date), role), grade, proved: false }
    }

    fn kept(candidates: &[Candidate], today: Date, nights: &BTreeMap<Date, Verdict>) -> Vec<Date> {
        let policy = Policy { today, files: FILES, etcd: ETCD, nights, retired: &BTreeSet::new() };
        decide(candidates, &policy)
            .into_iter()
            .filter(|decision| decision.keep)
            .map(|decision| decision.set.night.date)
            .collect()
    }

    fn year(host: &str, role: Role) -> (Date, Vec<Candidate>) {
        let today = date(2026, 11, 22);
        let sets = (0..365).rev().map(|ago| set(host, today - ago.days(), role, Grade::Good)).collect();
        (today, sets)
    }

    #[test]
    fn a_year_of_nights_leaves_nights_weeks_and_months() {
        let (today, sets) = year("n1", Role::Node);
        let kept = kept(&sets, today, &BTreeMap::new());
        // Seven nights from the 16th on; weeks 44–46 end on the 1st, 8th and 15th; months end on their last day.
        let expected: Vec<Date> = [(6, 30), (7, 31), (8, 31), (9, 30), (10, 31), (11, 1), (11, 8), (11, 15)]
            .into_iter()
            .map(|(month, day)| date(2026, month, day))
            .chain((16..=22).map(|day| date(2026, 11, day)))
            .collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn a_complete_night_is_preferred_for_its_week() {
        let (today, sets) = year("n1", Role::Etcd);
        let nights = BTreeMap::from([
            (date(2026, 11, 12), Verdict::Complete),
            (date(2026, 11, 14), Verdict::Degraded),
        ]);
        assert!(kept(&sets, today, &nights).contains(&date(2026, 11, 12)));
        assert!(!kept(&sets, today, &nights).contains(&date(2026, 11, 15)));
    }

    #[test]
    fn the_last_good_set_stays_however_old_it_is() {
        let today = date(2026, 11, 22);
        let mut sets = vec![set("n1", date(2025, 1, 1), Role::Node, Grade::Good)];
        sets.extend((0..20).map(|ago| set("n1", today - ago.days(), Role::Node, Grade::Bad)));
        assert!(kept(&sets, today, &BTreeMap::new()).contains(&date(2025, 1, 1)));
    }

    #[test]
    fn the_last_good_set_outlives_newer_degraded_ones_and_the_newest_copy_stays_too() {
        let today = date(2026, 11, 22);
        let (good, degraded) = (date(2025, 1, 1), date(2025, 2, 1));
        let mut sets = vec![set("n1", good, Role::Node, Grade::Good)];
        sets.push(set("n1", degraded, Role::Node, Grade::Degraded));
        sets.extend((0..200).map(|ago| set("n1", today - ago.days(), Role::Node, Grade::Bad)));
        let kept = kept(&sets, today, &BTreeMap::new());
        assert!(kept.contains(&good) && kept.contains(&degraded), "{kept:?}");
    }

    #[test]
    fn the_last_good_set_of_a_retired_host_goes_after_the_longest_period() {
        let today = date(2026, 11, 22);
        let sets = [
            set("gone", date(2025, 1, 1), Role::Node, Grade::Good),
            set("n1", today, Role::Node, Grade::Good),
        ];
        let nights = (0..200).map(|ago| (today - ago.days(), Verdict::Complete)).collect();
        let retired = BTreeSet::from(["gone".parse().unwrap()]);
        let keep = Keep { nights: 1, weeks: 0, months: 0 };
        let policy = Policy { today, files: keep, etcd: keep, nights: &nights, retired: &retired };
        let decisions = decide(&sets, &policy);
        assert!(!decisions[0].keep);
        assert!(decisions[1].keep);
    }

    #[test]
    fn a_set_from_the_future_neither_counts_nor_goes() {
        let today = date(2026, 11, 22);
        let sets: Vec<_> = (0..7)
            .map(|ahead| set("n1", date(2027, 5, 1) + ahead.days(), Role::Node, Grade::Good))
            .chain([set("n1", date(2026, 11, 1), Role::Node, Grade::Good)])
            .collect();
        assert_eq!(kept(&sets, today, &BTreeMap::new()).len(), 8);
    }
}
