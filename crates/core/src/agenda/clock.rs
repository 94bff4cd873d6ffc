//! The time, and how far it is to be trusted.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Past this, a clock that nobody synchronises is taken as it is.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// A clock further than this past the newest record needs to be synchronised before it is believed.
const LEAP: SignedDuration = SignedDuration::from_hours(36);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub now: Timestamp,
    pub synchronised: bool,
    /// For how long the daemon has seen it unsynchronised; zero when it is.
    pub unsynchronised_for: Duration,
}

impl Clock {
    /// Why no night may open yet, if none may. `newest` is the last thing that any record tells.
    pub(super) fn doubt(self, newest: Option<Timestamp>) -> Option<String> {
        if let Some(newest) = newest
            && self.now < newest
        {
            return Some(format!(
                "the clock shows {}, which is earlier than the newest record ({newest})",
                self.now
            ));
        }
        if self.synchronised {
            return None;
        }
        if let Some(newest) = newest
            && self.now.duration_since(newest) > LEAP
        {
            return Some(format!(
                "the clock shows {}, more than 36 h past the newest record ({newest}), and is not synchronised",
                self.now
            ));
        }
        (self.unsynchronised_for < PATIENCE).then(|| "the clock is not synchronised yet".to_owned())
    }

    pub(super) fn too_doubtful_to_prune(self) -> Option<String> {
        (!self.synchronised)
            .then(|| "the clock is not synchronised: nothing is removed by its word".to_owned())
    }
}
