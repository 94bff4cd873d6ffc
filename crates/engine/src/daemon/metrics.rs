//! What metrics are made of, on disk: written when the daemon's state changes, and from time to time, as a task of its own. Nothing
//! of a night waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_store::offload;
use tokio_util::sync::CancellationToken;

use super::actions::{Daemon, Task, TaskOutput};
use crate::metrics_file;

/// Without a change it is written so often: the free space changes, and a reader takes an old file for that of a dead daemon.
const WRITE_INTERVAL: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Default)]
pub(super) struct MetricsClock {
    last: Option<Instant>,
    /// It has to be written again, because the daemon's state changed while it was written.
    pub is_old: bool,
}

impl Daemon {
    pub fn write_metrics_if_due(&mut self) {
        if self.metrics.last.is_none_or(|last| last.elapsed() >= WRITE_INTERVAL) {
            self.write_metrics();
        }
    }

    pub fn write_metrics(&mut self) {
        self.metrics.is_old = self.supervisor.is_running(&Task::Metrics);
        if self.metrics.is_old {
            return;
        }
        self.metrics.last = Some(Instant::now());
        let (settings, audit) = (Arc::clone(self.agenda.settings()), self.audit.clone());
        let status = self.status(true);
        let write = move || {
            if let Err(error) = status().and_then(|report| metrics_file::write(&settings, report)) {
                let what = "cannot write the metrics; what reads them sees an older state";
                audit.emit(&Event::degraded(Kind::OperationFailed, what, chain(&error)));
            }
            TaskOutput::Nothing
        };
        self.supervisor.start(Task::Metrics, CancellationToken::new(), offload::run(write));
    }
}
