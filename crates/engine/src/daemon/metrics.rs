//! What metrics and notices are made of, on disk: written when the daemon's state changes, and from time to time, as a task of its own. Nothing
//! of a night waits for it.

use std::sync::Arc;

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_store::{StoreError, offload};
use tokio_util::sync::CancellationToken;

use super::actions::{Daemon, Task, TaskOutput};
use crate::metrics_file;
use crate::notify::deliver::{report_given_up, report_unreadable};
use crate::notify::observe::{Found, observe};

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
            let failed = |what: &str, error: &StoreError| {
                audit.emit(&Event::degraded(Kind::OperationFailed, what, chain(error)));
            };
            let written = status().and_then(|report| {
                match observe(&settings, &report) {
                    Ok(Found { dropped, unreadable, failed: queues }) => {
                        dropped.iter().for_each(|(queue, lost)| report_given_up(queue, lost, &audit));
                        unreadable.into_iter().for_each(|line| report_unreadable(line, &audit));
                        for (target, error) in queues {
                            failed(&format!("target {target}: cannot queue its notices"), &error);
                        }
                    }
                    Err(error) => failed("cannot queue notices of what has changed", &error),
                }
                metrics_file::write(&settings, report)
            });
            if let Err(error) = written {
                failed("cannot write the metrics; what reads them sees an older state", &error);
            }
            TaskOutput::Observed
        };
        self.supervisor.start(Task::Metrics, CancellationToken::new(), offload::run(write));
    }
}
