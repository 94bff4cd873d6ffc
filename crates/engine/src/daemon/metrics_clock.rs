//! When what metrics are made of is written.

use std::time::{Duration, Instant};

/// Without a change it is written so often: the free space changes, and a reader takes an old file for that of a dead daemon.
const WRITE_INTERVAL: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Default)]
pub(super) struct MetricsClock {
    last: Option<Instant>,
    is_old: bool,
}

impl MetricsClock {
    /// The daemon's state has changed.
    pub fn changed(&mut self) {
        self.is_old = true;
    }

    pub fn is_due(&self) -> bool {
        self.is_old || self.last.is_none_or(|last| last.elapsed() >= WRITE_INTERVAL)
    }

    /// A change from now on is not in what is being written.
    pub fn writing(&mut self) {
        *self = Self { last: Some(Instant::now()), is_old: false };
    }
}
