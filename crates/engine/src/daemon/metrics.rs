//! What metrics are made of, on disk: written when the daemon's state changes, and from time to time, as a task of its own. Nothing
//! of a night waits for it.

use std::sync::Arc;

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_store::offload;
use tokio_util::sync::CancellationToken;

use super::actions::{Daemon, Task, TaskOutput};
use crate::metrics_file;

impl Daemon {
    /// One writer at a time: a change meanwhile is written when it has ended.
    pub fn write_metrics_if_due(&mut self) {
        if !self.metrics.is_due() || self.supervisor.is_running(&Task::Metrics) {
            return;
        }
        self.metrics.writing();
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
