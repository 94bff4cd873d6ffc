//! The wall clock, and whether it is synchronised.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use nightshift_core::agenda::Clock;
use nightshift_store::offload;
use nightshift_store::process::{self, Limits};

/// systemd-timesyncd creates this file once it has set the clock; so do chrony-wait and the services that wrap ntpd.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// A larger difference between the two clocks' advances is a step of the wall clock.
const MAX_DRIFT: SignedDuration = SignedDuration::from_mins(1);

/// How long an answer is used. A synchronised clock does not drift far in minutes; an unsynchronised one delays the night.
const SYNCHRONISED_INTERVAL: Duration = Duration::from_secs(600);
const UNSYNCHRONISED_INTERVAL: Duration = Duration::from_secs(20);

/// The clock with the last known state of its synchronisation. The query may take seconds, so the daemon runs it beside
/// its loop and stores the answer here.
#[derive(Debug)]
pub struct WallClock {
    /// The config says that something else keeps the time, the hypervisor for example.
    trusted: bool,
    /// Since when it is unsynchronised without a step, by the monotonic clock and by itself.
    unsynchronised_since: Option<(Instant, Timestamp)>,
    /// The last answer, and when it arrived.
    answer: Option<(Instant, bool)>,
}

impl WallClock {
    pub const fn new(trusted: bool) -> Self {
        Self { trusted, unsynchronised_since: None, answer: None }
    }

    /// A reload changed `trust-clock`.
    pub const fn trust(&mut self, trusted: bool) {
        self.trusted = trusted;
    }

    pub fn read(&self) -> Clock {
        let now = Timestamp::now();
        let synchronised = self.trusted || self.answer.is_some_and(|(_, synchronised)| synchronised);
        let since = self.steady_since(Instant::now(), now);
        let unsynchronised_for = since.map(|(since, _)| since.elapsed()).unwrap_or_default();
        Clock { now, synchronised, unsynchronised_for }
    }

    /// `None` if the wall clock was stepped since: then it has to be steady for the whole grace period again.
    fn steady_since(&self, monotonic: Instant, wall: Timestamp) -> Option<(Instant, Timestamp)> {
        self.unsynchronised_since.filter(|(since, at)| {
            let elapsed = SignedDuration::try_from(monotonic.duration_since(*since)).unwrap_or_default();
            (wall.duration_since(*at) - elapsed).abs() <= MAX_DRIFT
        })
    }

    /// Whether it is time for a new query.
    pub fn needs_query(&self) -> bool {
        !self.trusted
            && self.answer.is_none_or(|(at, synchronised)| {
                at.elapsed() >= if synchronised { SYNCHRONISED_INTERVAL } else { UNSYNCHRONISED_INTERVAL }
            })
    }

    /// Stores the answer of a query.
    pub fn store(&mut self, synchronised: bool) {
        let (monotonic, wall) = (Instant::now(), Timestamp::now());
        self.answer = Some((monotonic, synchronised));
        let since = self.steady_since(monotonic, wall).unwrap_or((monotonic, wall));
        self.unsynchronised_since = (!synchronised).then_some(since);
    }
}

/// Whether the clock is synchronised. The sandbox forbids adjtimex(2), so this reads a file or runs timedatectl.
pub async fn query() -> bool {
    if Path::new(SYNCHRONISED).exists() {
        return true;
    }
    // chrony and ntpd create no such file; timedated reads the kernel's state.
    let limits = Limits { time: QUERY_TIMEOUT, output: 1 << 10 };
    let shown = offload::run(move || {
        let words = ["show", "--property=NTPSynchronized", "--value"];
        process::output(Command::new("timedatectl").args(words), limits)
    });
    shown.await.is_ok_and(|shown| shown.starts_with(b"yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trusted_clock_is_never_queried_and_an_answer_is_used_for_a_while() {
        let trusted = WallClock::new(true);
        assert!(trusted.read().synchronised && !trusted.needs_query());
        let mut clock = WallClock::new(false);
        assert!(!clock.read().synchronised && clock.needs_query());
        clock.store(false);
        assert!(!clock.needs_query());
        let since = clock.unsynchronised_since;
        clock.store(false);
        assert_eq!(clock.unsynchronised_since, since, "the time counts from the first answer");
        clock.store(true);
        assert!(clock.read().synchronised && clock.read().unsynchronised_for.is_zero());
        clock.store(false);
        clock.trust(true);
        assert!(clock.read().synchronised, "a reload takes effect at once");
    }

    #[test]
    fn the_grace_period_begins_again_after_a_step_of_the_clock() {
        let mut clock = WallClock::new(false);
        let (mono, wall) = (Instant::now(), Timestamp::now());
        let since = Some((mono, wall));
        clock.unsynchronised_since = since;
        let minutes = |minutes| SignedDuration::from_mins(minutes);
        let later = mono + Duration::from_secs(600);
        assert_eq!(clock.steady_since(later, wall + minutes(10)), since);
        assert_eq!(clock.steady_since(later, wall + minutes(70)), None, "it was set forward");
        assert_eq!(clock.steady_since(later, wall - minutes(50)), None, "it was set back");
        clock.unsynchronised_since = Some((mono, wall - minutes(100)));
        clock.store(false);
        assert!(clock.read().unsynchronised_for < Duration::from_secs(60));
    }
}
