//! The minimum rate of a transfer: a peer that sends a byte now and then never exceeds the timeout of a request.

use std::time::{Duration, Instant};

/// Bytes per second, far below any link that can carry a night.
const MIN_RATE: u64 = 4 << 10;

/// The time that a transfer may take: a grace period, and what its bytes need at the minimum rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    began: Instant,
    grace: Duration,
}

impl Pace {
    pub fn new(grace: Duration) -> Self {
        Self { began: Instant::now(), grace }
    }

    /// The time left after so many bytes were received, and after this host waited so long; zero if the transfer is too slow.
    pub fn left(self, received: u64, waited: Duration) -> Duration {
        allowed(self.grace, received).saturating_add(waited).saturating_sub(self.began.elapsed())
    }
}

fn allowed(grace: Duration, received: u64) -> Duration {
    grace.saturating_add(Duration::from_secs(received / MIN_RATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_buys_time_at_the_minimum_rate_only() {
        let grace = Duration::from_secs(60);
        assert_eq!(allowed(grace, 0), grace);
        assert_eq!(allowed(grace, 15), grace, "a byte every four seconds");
        assert_eq!(allowed(grace, 1 << 20), grace + Duration::from_secs(256));
        assert!(Pace::new(Duration::ZERO).left(0, Duration::ZERO).is_zero());
        assert!(!Pace::new(Duration::ZERO).left(0, grace).is_zero(), "it waited for its turn");
    }
}
