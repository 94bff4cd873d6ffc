//! What a pull got from its peers.

use nightshift_core::night::Night;
use nightshift_core::outcome::{Grade, Outcome};
use nightshift_core::text::{first_of, summary};

use crate::context::StageEnd;

/// What one peer's vault has for this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullOutcome {
    /// Its set is stored here; `fresh` if it arrived now.
    Stored { grade: Grade, fresh: bool },
    /// It publishes no set tonight, because one of another host is enough.
    NotNeeded,
    /// It has no set of this extra night, and the night is not open there.
    NoSuchNight,
}

impl PullOutcome {
    pub const fn is_fresh(self) -> bool {
        matches!(self, Self::Stored { fresh: true, .. })
    }
}

/// The result of the whole stage.
#[derive(Debug, Default)]
pub struct Tally {
    gained: bool,
    stored: usize,
    /// The hosts that have no set of an extra night, which each host opens for itself.
    without: Vec<String>,
    /// The hosts without a good set, with the reasons.
    lacking: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, host: &str, outcome: Result<PullOutcome, String>) {
        match outcome {
            Ok(PullOutcome::Stored { grade, fresh }) => {
                self.gained |= fresh;
                self.stored += 1;
                if grade != Grade::Good {
                    self.lacking.push(format!("{host}: {grade}"));
                }
            }
            Ok(PullOutcome::NotNeeded) => {}
            Ok(PullOutcome::NoSuchNight) => self.without.push(host.to_owned()),
            Err(reason) => self.lacking.push(format!("{host}: {reason}")),
        }
    }

    pub fn end(self, night: Night) -> StageEnd {
        let Self { gained, stored, without, lacking } = self;
        let without =
            (!without.is_empty()).then(|| format!("no set of night {night} on {}", first_of(&without, ", ")));
        if stored == 0
            && lacking.is_empty()
            && let Some(without) = without
        {
            let remedy = "`nightshift status` on a host shows the name of its extra night";
            return StageEnd::broken(format!("{without}; {remedy}"));
        }
        if lacking.is_empty() {
            return StageEnd { gained, reason: without, ..StageEnd::done() };
        }
        let reasons: Vec<String> = [summary(&lacking)].into_iter().chain(without).collect();
        StageEnd { outcome: Outcome::Degraded, reason: Some(reasons.join("; ")), retry: false, gained }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_hosts_without_an_extra_night_are_named_and_if_no_host_has_it_the_pull_fails() {
        let night: Night = "2026-11-28.7".parse().unwrap();
        let tally = |outcomes: &[(&str, PullOutcome)]| {
            let mut tally = Tally::default();
            outcomes.iter().for_each(|(host, outcome)| tally.add(host, Ok(*outcome)));
            tally.end(night)
        };
        let stored = PullOutcome::Stored { grade: Grade::Good, fresh: true };
        let some =
            tally(&[("e1", stored), ("e2", PullOutcome::NoSuchNight), ("e3", PullOutcome::NoSuchNight)]);
        assert_eq!((some.outcome, some.gained), (Outcome::Done, true));
        assert_eq!(some.reason.unwrap(), "no set of night 2026-11-28.7 on e2, e3");
        let none = tally(&[("e1", PullOutcome::NoSuchNight)]);
        assert_eq!((none.outcome, none.retry), (Outcome::Failed, false));
        assert!(none.reason.unwrap().contains("shows the name of its extra night"));
        assert_eq!(tally(&[]), StageEnd::done());
    }
}
