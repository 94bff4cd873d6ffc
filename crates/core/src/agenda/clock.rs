//! The time, and whether it can be trusted.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

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

impl Clock {
    /// Why no night may open at this time; `None` when one may. `newest` is the time of the newest line in any record.
    pub(super) fn doubt(self, newest: Option<Timestamp>, zone: &TimeZone) -> Option<String> {
        let local = |time: Timestamp| time.to_zoned(zone.clone()).strftime("%F %T %Z");
        let (shown, newest_shown) = (local(self.now), newest.map(local));
        if let (Some(newest), Some(newest_shown)) = (newest, &newest_shown)
            && self.now < newest
        {
            return Some(format!(
                "the clock shows {shown}, earlier than the newest record ({newest_shown}); set the clock, or wait"
            ));
        }
        if self.synchronised {
            return None;
        }
        if let (Some(newest), Some(newest_shown)) = (newest, &newest_shown)
            && self.now.duration_since(newest) > MAX_CLOCK_JUMP
        {
            return Some(format!(
                "the clock shows {shown}, more than 36 h past the newest record ({newest_shown}), and is not synchronised; start chronyd or systemd-timesyncd"
            ));
        }
        (self.unsynchronised_for < CLOCK_SYNC_GRACE).then(|| {
            "the clock is not synchronised yet; if it stays so, the night opens after 15 min, without pruning"
                .to_owned()
        })
    }

    pub(super) fn too_doubtful_to_prune(self) -> Option<String> {
        (!self.synchronised).then(|| {
            "the clock is not synchronised: skipping removal; start chronyd or systemd-timesyncd".to_owned()
        })
    }
}
