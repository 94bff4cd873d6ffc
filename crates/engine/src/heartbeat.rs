//! The heartbeat: tokio-cron-scheduler ticks once a minute, in UTC, and does nothing else.
//!
//! Its own times are an hour off after a DST change, and it does not catch up. So it decides nothing; the agenda does.

use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// The expression of the one job: every minute. In this crate's syntax the first field is the second.
const EVERY_MINUTE: &str = "0 * * * * *";

pub struct Heartbeat {
    scheduler: JobScheduler,
    ticks: mpsc::Receiver<()>,
}

#[derive(Debug, thiserror::Error)]
#[error("the heartbeat cannot start")]
pub struct HeartbeatError(#[from] JobSchedulerError);

impl Heartbeat {
    pub async fn start() -> Result<Self, HeartbeatError> {
        // One waiting tick is enough: the agenda catches up by the time, not by the number of ticks.
        let (sender, ticks) = mpsc::channel(1);
        let scheduler = JobScheduler::new().await?;
        let job = Job::new_async(EVERY_MINUTE, move |_, _| {
            let sender = sender.clone();
            Box::pin(async move {
                let _full = sender.try_send(());
            })
        })?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        Ok(Self { scheduler, ticks })
    }

    /// The next beat. If the scheduler has died this never returns; the loop's other events continue.
    pub async fn beat(&mut self) {
        if self.ticks.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    pub async fn stop(mut self) -> Result<(), HeartbeatError> {
        Ok(self.scheduler.shutdown().await?)
    }
}
