//! The wall clock, and whether it is synchronised.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nightshift_core::agenda::Clock;
use nightshift_store::offload;
use nightshift_store::process::{self, Limits};

/// systemd-timesyncd creates this file once it has set the clock; so do chrony-wait and the services that wrap ntpd.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer is used. A synchronised clock does not drift far in minutes; an unsynchronised one delays the night.
const SYNCHRONISED_INTERVAL: Duration = Duration::from_secs(600);
const UNSYNCHRONISED_INTERVAL: Duration = Duration::from_secs(20);

/// The clock with the last known state of its synchronisation. The query may take seconds, so the daemon runs it beside
/// its loop and stores the answer here.
#[derive(Debug)]
pub struct WallClock {
    /// The config says that something else keeps the time, the hypervisor for example.
    trusted: bool,
    unsynchronised_since: Option<Instant>,
    /// The last answer, and when it arrived.
    answer: Option<(Instant, bool)>,
}

impl WallClock {
    pub const fn new(trusted: bool) -> Self {
        Self { trusted, unsynchronised_since: None, answer: None }
    }

    pub fn read(&self) -> Clock {
        let synchronised = self.trusted || self.answer.is_some_and(|(_, synchronised)| synchronised);
        Clock {
            now: Timestamp::now(),
            synchronised,
            unsynchronised_for: self.unsynchronised_since.map(|since| since.elapsed()).unwrap_or_default(),
        }
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
        let now = Instant::now();
        self.answer = Some((now, synchronised));
        self.unsynchronised_since = (!synchronised).then(|| self.unsynchronised_since.unwrap_or(now));
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
    }
}
