//! The stop: stages that only wait are stopped at once. Work in progress that cannot be resumed gets a grace period to end.

use std::time::Duration;

use nightshift_core::audit::{Event, Kind};
use tokio::time::{Instant, timeout_at};

use super::actions::Daemon;

/// The time for work in progress to end; TimeoutStopSec of the unit is longer.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(60);
/// The time for the rest to end at their next await, after they were stopped.
const STOP_GRACE: Duration = Duration::from_secs(5);

impl Daemon {
    pub async fn drain(&mut self) {
        self.systemd.stopping();
        self.audit.emit(&Event::info(Kind::DaemonStopping, "nightshift is stopping"));
        // Their connections are closed without a response.
        self.waiting.0.clear();
        self.draining.cancel();
        self.wait_for_stages(SHUTDOWN_GRACE).await;
        self.supervisor.stop_all();
        self.wait_for_stages(STOP_GRACE).await;
    }

    async fn wait_for_stages(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        while self.is_working() {
            let Ok(ended) = timeout_at(deadline, self.supervisor.next()).await else { return };
            tracing::debug!("{:?} ended", ended.name);
        }
    }
}
