//! The time, and whether it can be trusted.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::units;

/// How long a night waits for the clock's synchronisation. After it, the night runs on the unsynchronised clock.
const CLOCK_SYNC_GRACE: Duration = Duration::from_secs(15 * 60);
/// A clock that is further past the newest record must be synchronised before a night opens.
const MAX_CLOCK_JUMP: SignedDuration = SignedDuration::from_hours(36);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub now: Timestamp,
    pub synchronised: bool,
    /// For how long the daemon has seen it unsynchronised, and advancing as the monotonic clock does; zero when it is
    /// synchronised.
    pub unsynchronised_for: Duration,
}

/// Why no night may open at this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The clock is earlier than the newest record.
    Behind,
    /// The clock is far past the newest record, and not synchronised.
    Jumped,
    Unsynchronised,
}

impl Clock {
    /// `newest` is the time of the newest line in any record that is not from the future.
    pub(super) fn doubt(self, newest: Option<Timestamp>) -> Option<Doubt> {
        let ahead = newest.map_or(SignedDuration::ZERO, |newest| self.now.duration_since(newest));
        if ahead.is_negative() {
            Some(Doubt::Behind)
        } else if self.synchronised || self.unsynchronised_for >= CLOCK_SYNC_GRACE {
            None
        } else if ahead > MAX_CLOCK_JUMP {
            Some(Doubt::Jumped)
        } else {
            Some(Doubt::Unsynchronised)
        }
    }

    /// When the night opens although nothing else changes.
    pub(super) fn opens_at(self, doubt: Doubt, newest: Option<Timestamp>) -> Option<Timestamp> {
        match doubt {
            Doubt::Behind => newest,
            Doubt::Jumped | Doubt::Unsynchronised => {
                self.now.checked_add(CLOCK_SYNC_GRACE.saturating_sub(self.unsynchronised_for)).ok()
            }
        }
    }

    /// The reason and the remedy. It does not change while the night waits, so that it is reported once.
    pub(super) fn explain(self, doubt: Doubt, newest: Option<Timestamp>, zone: &TimeZone) -> String {
        let newest = newest.map(|newest| units::local_time(newest, zone)).unwrap_or_default();
        match doubt {
            Doubt::Behind => format!("the clock is earlier than the newest record ({newest}); set the clock"),
            Doubt::Jumped => format!(
                "the clock is not synchronised, and more than 36 h past the newest record ({newest}); {SYNCHRONISE}"
            ),
            Doubt::Unsynchronised => format!("the clock is not synchronised; {SYNCHRONISE}"),
        }
    }

    pub(super) fn too_doubtful_to_prune(self) -> Option<String> {
        (!self.synchronised)
            .then(|| format!("skipping removal, because the clock is not synchronised; {SYNCHRONISE}"))
    }
}

/// What an operator can do about an unsynchronised clock.
pub const SYNCHRONISE: &str = "start chronyd or systemd-timesyncd, or set `trust-clock = true` in [night] if something else keeps the time";
