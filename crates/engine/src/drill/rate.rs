//! The rate at which a copy is read and written, so that the disk stays usable for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

/// Stops the copying when it is dropped: a thread does not end with the future that waits for it.
#[derive(Debug)]
pub struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub struct RateLimiter {
    /// In bytes per second.
    rate: u64,
    started: Instant,
    moved: u64,
    stop: Arc<AtomicBool>,
}

impl RateLimiter {
    pub fn new(rate: u64) -> (Self, StopOnDrop) {
        let stop = Arc::<AtomicBool>::default();
        (Self { rate, started: Instant::now(), moved: 0, stop: Arc::clone(&stop) }, StopOnDrop(stop))
    }

    /// Counts bytes that were copied, and sleeps if they are ahead of the rate. An error if the copying was stopped.
    pub fn moved(&mut self, bytes: u64) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("the copying was stopped"));
        }
        self.moved = self.moved.saturating_add(bytes);
        thread::sleep(self.ahead(self.started.elapsed()));
        Ok(())
    }

    /// By how much the copying is ahead of the rate.
    fn ahead(&self, elapsed: Duration) -> Duration {
        let due = u128::from(self.moved) * 1_000_000 / u128::from(self.rate.max(1));
        Duration::from_micros(u64::try_from(due).unwrap_or(u64::MAX)).saturating_sub(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copying_waits_while_it_is_ahead_of_its_rate() {
        let (limiter, _stop) = RateLimiter::new(1_000_000);
        let limiter = RateLimiter { moved: 5_000_000, ..limiter };
        assert_eq!(limiter.ahead(Duration::from_secs(2)), Duration::from_secs(3));
        assert_eq!(limiter.ahead(Duration::from_secs(6)), Duration::ZERO);
    }

    #[test]
    fn copying_stops_when_the_future_that_waits_for_it_is_dropped() {
        let (mut limiter, stop) = RateLimiter::new(u64::MAX);
        limiter.moved(1).unwrap();
        drop(stop);
        assert!(limiter.moved(1).is_err());
    }
}
