//! A limit of the bytes per second, for any number of transfers together.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Time that was not used for transfers is made up for later only up to this.
const BURST: Duration = Duration::from_millis(100);

/// Clones share the limit. Without a rate it has none.
#[derive(Debug, Clone, Default)]
pub struct Bandwidth(Option<Arc<Limit>>);

#[derive(Debug)]
struct Limit {
    /// Bytes per second.
    rate: u64,
    /// When the bytes of all callers so far are transferred, at that rate.
    free: Mutex<Instant>,
}

impl Bandwidth {
    /// `rate` in bytes per second.
    pub fn of(rate: Option<u64>) -> Self {
        let limit = |rate: u64| Arc::new(Limit { rate: rate.max(1), free: Mutex::new(Instant::now()) });
        Self(rate.map(limit))
    }

    /// When so many bytes may be transferred: callers get their turn in the order of their calls.
    fn reserve(&self, bytes: u64) -> Option<Instant> {
        let Limit { rate, free } = self.0.as_deref()?;
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(*rate);
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let now = Instant::now();
        let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*free).max(now.checked_sub(BURST).unwrap_or(now));
        *free = turn.checked_add(takes).unwrap_or(turn);
        (turn > now).then_some(turn)
    }
}

/// The share of one connection in a limit, and for how long its transfers waited for it: no timeout counts that time.
#[derive(Debug, Default)]
pub(crate) struct Share {
    bandwidth: Bandwidth,
    waits: Mutex<Waits>,
}

#[derive(Debug, Default)]
struct Waits {
    /// The number of transfers that wait now, and since when there is at least one.
    waiting: usize,
    since: Option<Instant>,
    /// Until `since`.
    total: Duration,
}

impl Share {
    pub fn of(bandwidth: Bandwidth) -> Self {
        Self { bandwidth, waits: Mutex::default() }
    }

    /// Waits until so many bytes may be transferred; returns how long that was.
    pub async fn take(&self, bytes: u64) -> Duration {
        let Some(turn) = self.bandwidth.reserve(bytes) else { return Duration::ZERO };
        let wait = turn.saturating_duration_since(Instant::now());
        let _waiting = Waiting::new(&self.waits);
        sleep(wait).await;
        wait
    }

    /// For how long at least one transfer waited.
    pub fn waited(&self) -> Duration {
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.total + waits.since.map(|since| since.elapsed()).unwrap_or_default()
    }
}

/// A transfer that waits; dropping it ends the wait, also if the transfer was cancelled.
struct Waiting<'a>(&'a Mutex<Waits>);

impl<'a> Waiting<'a> {
    fn new(waits: &'a Mutex<Waits>) -> Self {
        let mut locked = waits.lock().unwrap_or_else(PoisonError::into_inner);
        locked.waiting += 1;
        locked.since.get_or_insert_with(Instant::now);
        drop(locked);
        Self(waits)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waits.waiting = waits.waiting.saturating_sub(1);
        if waits.waiting == 0
            && let Some(since) = waits.since.take()
        {
            waits.total += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_their_turn_one_after_the_other_and_an_unlimited_one_never_waits() {
        assert_eq!(Bandwidth::default().reserve(u64::MAX), None);
        let bandwidth = Bandwidth::of(Some(1000));
        bandwidth.reserve(5000);
        let turns = [bandwidth.clone().reserve(2000), bandwidth.reserve(u64::MAX)].map(Option::unwrap);
        assert_eq!(turns[1] - turns[0], Duration::from_secs(2), "they share one limit");
        let now = Instant::now();
        assert!(turns[0] > now + Duration::from_secs(4) && turns[0] <= now + Duration::from_secs(5));
    }

    #[tokio::test]
    async fn each_moment_of_waiting_counts_once_and_a_cancelled_wait_ends() {
        let share = Share::of(Bandwidth::of(Some(1000)));
        share.take(10_000).await;
        let cancelled = tokio::time::timeout(Duration::from_millis(1), share.take(1)).await;
        assert!(cancelled.is_err());
        let waits = share.waits.lock().unwrap();
        assert_eq!((waits.waiting, waits.since), (0, None));
    }
}
