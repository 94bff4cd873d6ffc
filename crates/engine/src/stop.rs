//! How a stage is stopped: at once at the closing of its night; when the daemon stops, as soon as it only waits.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Default)]
pub struct Stop {
    now: CancellationToken,
    drain: CancellationToken,
    work: Arc<RwLock<()>>,
}

/// Work is in progress that would have to start from the beginning if it were interrupted. The daemon's stop leaves it a
/// grace period.
#[derive(Debug)]
pub struct Work {
    _guard: OwnedRwLockReadGuard<()>,
}

impl Stop {
    /// `now` stops the stage at once, `drain` as soon as no work is in progress.
    pub fn new(now: CancellationToken, drain: CancellationToken) -> Self {
        Self { now, drain, work: Arc::default() }
    }

    pub fn is_now(&self) -> bool {
        self.now.is_cancelled()
    }

    /// Marks the work in progress until the result is dropped. Everything that a stage does outside of it counts as a wait.
    /// Do not nest it: after a stop was requested, new work does not begin.
    pub async fn work(&self) -> Work {
        Work { _guard: Arc::clone(&self.work).read_owned().await }
    }

    /// Returns when the stage has to stop.
    pub async fn requested(&self) {
        let drained = async {
            self.drain.cancelled().await;
            // The lock is fair: work in progress ends first, and no other work begins.
            drop(self.work.write().await);
        };
        tokio::select! {
            () = self.now.cancelled() => {}
            () = drained => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_draining_stop_ends_every_wait_and_lets_work_in_progress_end_but_begins_no_other() {
        let drain = CancellationToken::new();
        let stop = Stop::new(CancellationToken::new(), drain.clone());
        assert!(stop.requested().now_or_never().is_none());
        let work = stop.work().await;
        drain.cancel();
        let mut requested = Box::pin(stop.requested());
        assert!(requested.as_mut().now_or_never().is_none(), "work is in progress");
        assert!(stop.work().now_or_never().is_none(), "no other work begins");
        drop(work);
        timeout(Duration::from_secs(1), requested).await.expect("nothing is in progress");
    }

    #[tokio::test]
    async fn a_stop_at_once_does_not_wait_for_work() {
        let now = CancellationToken::new();
        let stop = Stop::new(now.clone(), CancellationToken::new());
        let _work = stop.work().await;
        now.cancel();
        assert!(stop.requested().now_or_never().is_some());
    }
}
