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
    /// For how long the daemon has seen it unsynchronised; zero when it is synchronised.
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
    /// `newest` is the time of the newest line in any record.
    pub(super) fn doubt(self, newest: Option<Timestamp>) -> Option<Doubt> {
        let ahead = newest.map_or(SignedDuration::ZERO, |newest| self.now.duration_since(newest));
        if ahead.is_negative() {
            Some(Doubt::Behind)
        } else if self.synchronised {
            None
        } else if ahead > MAX_CLOCK_JUMP {
            Some(Doubt::Jumped)
        } else {
            (self.unsynchronised_for < CLOCK_SYNC_GRACE).then_some(Doubt::Unsynchronised)
        }
    }

    pub(super) fn explain(self, doubt: Doubt, newest: Option<Timestamp>, zone: &TimeZone) -> String {
        let now = units::local_time(self.now, zone);
        let newest = newest.map(|newest| units::local_time(newest, zone)).unwrap_or_default();
        match doubt {
            Doubt::Behind => format!(
                "the clock shows {now}, earlier than the newest record ({newest}); set the clock, or wait"
            ),
            Doubt::Jumped => format!(
                "the clock shows {now}, more than 36 h past the newest record ({newest}), and is not synchronised; start chronyd or systemd-timesyncd"
            ),
            Doubt::Unsynchronised => {
                "the clock is not synchronised yet; if it stays so, the night opens after 15 min, without pruning"
                    .to_owned()
            }
        }
    }

    pub(super) fn too_doubtful_to_prune(self) -> Option<String> {
        (!self.synchronised).then(|| {
            "the clock is not synchronised: skipping removal; start chronyd or systemd-timesyncd".to_owned()
        })
    }
}
