//! The heartbeat crate and one job a minute, and nothing else: what the idle daemon is measured beside.

#![allow(clippy::unwrap_used)]

use tokio_cron_scheduler::{Job, JobScheduler};

/// As many workers as the daemon has.
#[tokio::main(worker_threads = 2)]
async fn main() {
    let scheduler = JobScheduler::new().await.unwrap();
    let job = Job::new_async("0 * * * * *", |_, _| Box::pin(async {})).unwrap();
    scheduler.add(job).await.unwrap();
    scheduler.start().await.unwrap();
    std::future::pending::<()>().await;
}
