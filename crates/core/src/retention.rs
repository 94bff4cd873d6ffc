//! Which sets and archives are kept and which are removed, each decision with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::ToSpan as _;
use jiff::civil::Date;

use crate::kept::KeptNights;
use crate::name::HostName;
use crate::night::Night;
use crate::outcome::{Grade, Verdict};

/// How many of the newest nights, weeks and months are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keep {
    pub nights: u16,
    pub weeks: u16,
    pub months: u16,
}

impl Keep {
    /// How far back this policy keeps anything, in days.
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

/// A stored copy, with the properties that retention uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<S> {
    pub host: HostName,
    /// Which copies of a host can replace each other: for sets, those of one role.
    pub series: S,
    pub night: Night,
    pub attempt: u16,
    /// What the policy keeps of its series.
    pub keep: Keep,
    /// Its grade, after other manifests, proofs and acceptances were considered.
    pub grade: Grade,
    pub proved: bool,
    /// The sets of its host are kept until an operator accepts it.
    pub awaits: bool,
    /// An operator accepted it.
    pub accepted: bool,
}

impl<S> Candidate<S> {
    const fn of(&self) -> (&HostName, &S) {
        (&self.host, &self.series)
    }

    const fn age(&self) -> (Night, u16) {
        (self.night, self.attempt)
    }
}

/// Why a copy is kept or removed: the first reason that applies, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    FromTheFuture,
    /// An operator keeps its night, to the end of this day if there is one.
    Kept(Option<Date>),
    /// The host has a suspicious set of this night. If it turns out to be wrong, only older sets can be used.
    AwaitsAcceptance(Night),
    AmongNewest(u16),
    NightOfWeek {
        year: i16,
        week: i8,
    },
    NightOfMonth {
        year: i16,
        month: i8,
    },
    LastGood,
    NewestCopy,
    LastProved,
    /// The newest archives on a remote stay, even where the policy drops them.
    AmongNewestThere(u16),
    /// Without it, etcd could not be restored from the remote.
    NewestWithEtcd,
    BeyondPolicy(Keep),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromTheFuture => f.write_str("its night is in the future"),
            Self::Kept(None) => f.write_str("an operator keeps its night"),
            Self::Kept(Some(until)) => write!(f, "an operator keeps its night until {until}"),
            Self::AwaitsAcceptance(night) => write!(
                f,
                "no set of this host is removed until its suspicious set of {night} is accepted (`nightshift sets accept`)"
            ),
            Self::AmongNewest(nights) => write!(f, "among the newest {nights} nights"),
            Self::NightOfWeek { year, week } => write!(f, "the night kept for week {year}-W{week:02}"),
            Self::NightOfMonth { year, month } => write!(f, "the night kept for {year}-{month:02}"),
            Self::LastGood => f.write_str("the last good set of this host and role"),
            Self::NewestCopy => f.write_str("the newest copy of this host and role, although it is degraded"),
            Self::LastProved => f.write_str("the last proved set of this host and role"),
            Self::AmongNewestThere(archives) => write!(f, "among the newest {archives} archives there"),
            Self::NewestWithEtcd => f.write_str("the newest archive there with an etcd snapshot"),
            Self::BeyondPolicy(keep) => write!(f, "older than the policy keeps ({keep})"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub keep: bool,
    pub reason: Reason,
}

/// What the decisions depend on, apart from the copies.
#[derive(Debug)]
pub struct Policy<'a> {
    pub today: Date,
    /// The result of each night, as far as it is known.
    pub nights: &'a BTreeMap<Date, Verdict>,
    /// Hosts that left the inventory: their last good set is not kept forever.
    pub retired: &'a BTreeSet<HostName>,
    /// The nights that an operator keeps.
    pub kept: &'a KeptNights,
}

/// Decides about every copy. The decisions are in the order of the candidates.
pub fn decide<S: Ord>(candidates: &[Candidate<S>], policy: &Policy<'_>) -> Vec<Decision> {
    let dates: BTreeSet<Date> = candidates
        .iter()
        .map(|candidate| candidate.night.date)
        .filter(|date| *date <= policy.today)
        .collect();
    let keeps: BTreeSet<Keep> = candidates.iter().map(|candidate| candidate.keep).collect();
    let chosen: BTreeMap<Keep, BTreeMap<Date, Reason>> =
        keeps.into_iter().map(|keep| (keep, chosen_nights(&dates, keep, policy.nights))).collect();
    let last_good = newest(candidates, policy.today, |candidate| candidate.grade == Grade::Good);
    let newest_copy = newest(candidates, policy.today, |candidate| candidate.grade.is_copy());
    let last_proved =
        newest(candidates, policy.today, |candidate| candidate.proved && candidate.grade.is_copy());
    let awaited = awaited(candidates);

    candidates
        .iter()
        .map(|candidate| {
            let Candidate { host, night, keep, .. } = candidate;
            let is = |newest: &Newest<'_, S>| newest.get(&candidate.of()) == Some(&candidate.age());
            // The last sets of a retired host are removed when they are older than anything the policy keeps.
            let expired = policy.retired.contains(host)
                && night.date.until(policy.today).map_or(0, |span| i64::from(span.get_days())) > keep.reach();
            let reason = if night.date > policy.today {
                Some(Reason::FromTheFuture)
            } else if let Some(kept) = policy.kept.of(*night, policy.today) {
                Some(Reason::Kept(kept.until))
            } else if let Some(night) = awaited.get(host) {
                Some(Reason::AwaitsAcceptance(*night))
            } else if let Some(reason) = chosen.get(keep).and_then(|chosen| chosen.get(&night.date)) {
                Some(reason.clone())
            } else if !expired && is(&last_good) {
                Some(Reason::LastGood)
            } else if !expired && is(&newest_copy) {
                Some(Reason::NewestCopy)
            } else if !expired && is(&last_proved) {
                Some(Reason::LastProved)
            } else {
                None
            };
            Decision { keep: reason.is_some(), reason: reason.unwrap_or(Reason::BeyondPolicy(*keep)) }
        })
        .collect()
}

/// The hosts with a suspicious set that waits for acceptance, with its night.
fn awaited<S: Ord>(candidates: &[Candidate<S>]) -> BTreeMap<&HostName, Night> {
    awaiting(candidates).map(|candidate| (&candidate.host, candidate.night)).collect()
}

/// The suspicious sets that wait for acceptance. Accepting a later set of the same host and role settles the earlier ones too.
pub fn awaiting<S: Ord>(candidates: &[Candidate<S>]) -> impl Iterator<Item = &Candidate<S>> {
    let is_settled = |candidate: &Candidate<S>| {
        candidates
            .iter()
            .any(|later| later.accepted && later.of() == candidate.of() && later.age() > candidate.age())
    };
    candidates.iter().filter(move |candidate| candidate.awaits && !is_settled(candidate))
}

/// The nights that the policy keeps, each with its reason. They are chosen by date alone, so that all hosts of the
/// cluster keep the same nights.
fn chosen_nights(
    dates: &BTreeSet<Date>,
    keep: Keep,
    worth: &BTreeMap<Date, Verdict>,
) -> BTreeMap<Date, Reason> {
    let mut chosen = BTreeMap::new();
    for date in dates.iter().rev().take(keep.nights.into()) {
        chosen.insert(*date, Reason::AmongNewest(keep.nights));
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
            chosen.entry(date).or_insert(Reason::NightOfWeek { year, week });
        }
    }
    for ((year, month), dates) in months.into_iter().rev().take(keep.months.into()) {
        if let Some(date) = best_night(&dates, worth) {
            chosen.entry(date).or_insert(Reason::NightOfMonth { year, month });
        }
    }
    chosen
}

/// The last day on which the policy keeps the sets of each night, if one more night completes each day from today on. A night that it
/// drops today is absent.
pub fn stays(
    dates: &BTreeSet<Date>,
    keep: Keep,
    worth: &BTreeMap<Date, Verdict>,
    today: Date,
) -> BTreeMap<Date, Date> {
    // A month more than the policy reaches: the last night of a month may be the one that is kept.
    let days = keep.reach().saturating_add(31);
    let mut worth = worth.clone();
    let mut stored: BTreeSet<Date> = dates.iter().copied().filter(|date| *date <= today).collect();
    let mut stays = BTreeMap::new();
    for ahead in 0..=days {
        let Ok(day) = today.checked_add(ahead.days()) else { break };
        if ahead > 0 {
            stored.insert(day);
            worth.insert(day, Verdict::Complete);
        }
        let chosen = chosen_nights(&stored, keep, &worth);
        stored.retain(|date| chosen.contains_key(date));
        stays.extend(stored.intersection(dates).map(|date| (*date, day)));
        if stored.is_disjoint(dates) {
            break;
        }
    }
    stays
}

/// The newest complete night, else the newest restorable, else the newest.
fn best_night(dates: &[Date], worth: &BTreeMap<Date, Verdict>) -> Option<Date> {
    dates.iter().copied().max_by_key(|date| (worth.get(date).copied(), *date))
}

type Newest<'c, S> = BTreeMap<(&'c HostName, &'c S), (Night, u16)>;

/// For each series, the newest copy that qualifies; of one night the highest attempt.
fn newest<S: Ord>(
    candidates: &[Candidate<S>],
    today: Date,
    qualifies: impl Fn(&Candidate<S>) -> bool,
) -> Newest<'_, S> {
    let mut newest = Newest::new();
    for candidate in
        candidates.iter().filter(|candidate| candidate.night.date <= today && qualifies(candidate))
    {
        let age = newest.entry(candidate.of()).or_insert(candidate.age());
        *age = candidate.age().max(*age);
    }
    newest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kept::KeptNight;
    use crate::role::Role;
    use jiff::Timestamp;
    use jiff::civil::date;

    const FILES: Keep = Keep { nights: 7, weeks: 4, months: 6 };
    const ETCD: Keep = Keep { nights: 3, weeks: 2, months: 0 };

    fn set(host: &str, date: Date, role: Role, grade: Grade) -> Candidate<Role> {
        Candidate {
            host: host.parse().unwrap(),
            series: role,
            night: Night::of(date),
            attempt: 1,
            keep: if role == Role::Etcd { ETCD } else { FILES },
            grade,
            proved: false,
            awaits: grade == Grade::Suspicious,
            accepted: false,
        }
    }

    fn kept(candidates: &[Candidate<Role>], today: Date, nights: &BTreeMap<Date, Verdict>) -> Vec<Date> {
        let policy = Policy { today, nights, retired: &BTreeSet::new(), kept: &KeptNights::default() };
        let decided = candidates.iter().zip(decide(candidates, &policy));
        decided.filter(|(_, decision)| decision.keep).map(|(set, _)| set.night.date).collect()
    }

    fn year(host: &str, role: Role) -> (Date, Vec<Candidate<Role>>) {
        let today = date(2026, 11, 22);
        let sets = (0..365).rev().map(|ago| set(host, today - ago.days(), role, Grade::Good)).collect();
        (today, sets)
    }

    #[test]
    fn of_a_year_of_nights_the_policys_nights_weeks_and_months_are_kept() {
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
    fn a_night_that_an_operator_keeps_stays_until_its_day() {
        let (today, sets) = year("n1", Role::Etcd);
        let (old, until) = (date(2026, 3, 3), date(2026, 11, 22));
        let mut kept = KeptNights::default();
        let by_alice = KeptNight { until: Some(until), by: "alice".into(), at: Timestamp::UNIX_EPOCH };
        assert!(kept.keep(Night::of(old), by_alice, today));
        let decide = |today: Date| {
            let policy = Policy { today, nights: &BTreeMap::new(), retired: &BTreeSet::new(), kept: &kept };
            let decided = sets.iter().zip(decide(&sets, &policy));
            decided.filter(|(set, _)| set.night.date == old).map(|(_, decision)| decision).next().unwrap()
        };
        assert_eq!(decide(today), Decision { keep: true, reason: Reason::Kept(Some(until)) });
        assert!(!decide(until.tomorrow().unwrap()).keep);
    }

    #[test]
    fn how_long_a_night_stays_is_what_the_nights_after_it_will_decide() {
        let (today, sets) = year("n1", Role::Node);
        let none = BTreeMap::new();
        let mut dates: BTreeSet<Date> = sets.iter().map(|set| set.night.date).collect();
        let foreseen = stays(&dates, FILES, &none, today);
        // As it happens, night after night.
        let mut seen = BTreeMap::new();
        let mut worth = BTreeMap::new();
        for ahead in 0..230 {
            let day = today + ahead.days();
            if ahead > 0 {
                dates.insert(day);
                worth.insert(day, Verdict::Complete);
            }
            dates = chosen_nights(&dates, FILES, &worth).into_keys().collect();
            seen.extend(dates.iter().filter(|date| **date <= today).map(|date| (*date, day)));
        }
        assert_eq!(foreseen, seen);
        assert_eq!(foreseen[&date(2026, 11, 18)], date(2026, 11, 24), "among seven nights");
        assert!(!foreseen.contains_key(&date(2026, 1, 5)), "dropped today");
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
    fn the_last_good_set_is_kept_at_any_age() {
        let today = date(2026, 11, 22);
        let mut sets = vec![set("n1", date(2025, 1, 1), Role::Node, Grade::Good)];
        sets.extend((0..20).map(|ago| set("n1", today - ago.days(), Role::Node, Grade::Bad)));
        assert!(kept(&sets, today, &BTreeMap::new()).contains(&date(2025, 1, 1)));
    }

    #[test]
    fn the_last_good_set_and_the_newest_degraded_one_are_both_kept() {
        let today = date(2026, 11, 22);
        let (good, degraded) = (date(2025, 1, 1), date(2025, 2, 1));
        let mut sets = vec![set("n1", good, Role::Node, Grade::Good)];
        sets.push(set("n1", degraded, Role::Node, Grade::Degraded));
        sets.extend((0..200).map(|ago| set("n1", today - ago.days(), Role::Node, Grade::Bad)));
        let kept = kept(&sets, today, &BTreeMap::new());
        assert!(kept.contains(&good) && kept.contains(&degraded), "{kept:?}");
    }

    #[test]
    fn the_last_good_set_of_a_retired_host_is_removed_after_the_longest_period() {
        let today = date(2026, 11, 22);
        let keep = Keep { nights: 1, weeks: 0, months: 0 };
        let sets = [("gone", date(2025, 1, 1)), ("n1", today)]
            .map(|(host, date)| Candidate { keep, ..set(host, date, Role::Node, Grade::Good) });
        let nights = (0..200).map(|ago| (today - ago.days(), Verdict::Complete)).collect();
        let retired = BTreeSet::from(["gone".parse().unwrap()]);
        let policy = Policy { today, nights: &nights, retired: &retired, kept: &KeptNights::default() };
        let decisions = decide(&sets, &policy);
        assert!(!decisions[0].keep);
        assert!(decisions[1].keep);
    }

    #[test]
    fn a_set_from_the_future_is_kept_and_does_not_count_as_a_kept_night() {
        let today = date(2026, 11, 22);
        let sets: Vec<_> = (0..7)
            .map(|ahead| set("n1", date(2027, 5, 1) + ahead.days(), Role::Node, Grade::Good))
            .chain([set("n1", date(2026, 11, 1), Role::Node, Grade::Good)])
            .collect();
        assert_eq!(kept(&sets, today, &BTreeMap::new()).len(), 8);
    }

    #[test]
    fn no_set_of_a_host_is_removed_while_its_suspicious_set_waits_for_acceptance() {
        let today = date(2026, 11, 22);
        let old = date(2025, 1, 1);
        let mut sets: Vec<_> = (0..30)
            .flat_map(|ago| ["e1", "e2"].map(|host| set(host, today - ago.days(), Role::Etcd, Grade::Good)))
            .chain(["e1", "e2"].map(|host| set(host, old, Role::Node, Grade::Good)))
            .collect();
        let suspicious = sets.iter().position(|it| it.night.date == today - 9.days()).unwrap();
        assert_eq!(sets[suspicious].host.as_str(), "e1");
        (sets[suspicious].grade, sets[suspicious].awaits) = (Grade::Suspicious, true);
        let dropped = |sets: &[Candidate<Role>], host: &str| {
            let policy = Policy {
                today,
                nights: &BTreeMap::new(),
                retired: &BTreeSet::new(),
                kept: &KeptNights::default(),
            };
            let decided = sets.iter().zip(decide(sets, &policy));
            decided.filter(|(set, decision)| set.host.as_str() == host && !decision.keep).count()
        };
        assert_eq!(dropped(&sets, "e1"), 0, "also of other roles");
        assert!(dropped(&sets, "e2") > 20, "another host is not affected");
        let policy = Policy {
            today,
            nights: &BTreeMap::new(),
            retired: &BTreeSet::new(),
            kept: &KeptNights::default(),
        };
        let reason = decide(&sets, &policy)[suspicious].reason.to_string();
        assert!(reason.contains("until its suspicious set of 2026-11-13 is accepted"), "{reason}");

        // Accepting the set itself or a later one settles it; accepting an earlier one does not.
        let accept = |ago: i32, grade| {
            let mut sets = sets.clone();
            let one = sets.iter_mut().find(|it| it.night.date == today - ago.days()).unwrap();
            (one.grade, one.awaits, one.accepted) = (grade, false, true);
            dropped(&sets, "e1")
        };
        assert!(accept(9, Grade::Good) > 20);
        assert!(accept(3, Grade::Good) > 20);
        assert_eq!(accept(12, Grade::Good), 0);
    }
}
