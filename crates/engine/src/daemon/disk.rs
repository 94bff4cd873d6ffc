//! Work for clients that reads files: on a few threads of its own, with a time limit. A thread whose file system does not respond
//! stays blocked, and one client after the other must not use up the threads of the stages.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use nightshift_store::offload;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::control::ControlResponse;

/// The time for a response, including the wait for a thread.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// The threads that read for clients at the same time.
const MAX_THREADS: usize = 4;

#[derive(Debug, Clone)]
pub(super) struct Disk {
    threads: Arc<Semaphore>,
    limit: Duration,
}

impl Disk {
    pub fn new() -> Self {
        Self { threads: Arc::new(Semaphore::new(MAX_THREADS)), limit: RESPONSE_TIMEOUT }
    }

    /// Runs `work` on a thread. If it takes too long, the response says so, and the thread continues.
    pub fn run(
        &self,
        work: impl FnOnce() -> ControlResponse + Send + 'static,
    ) -> impl Future<Output = ControlResponse> + Send + 'static {
        let (threads, limit) = (Arc::clone(&self.threads), self.limit);
        let working = async move {
            let thread = threads.acquire_owned().await.ok()?;
            let work = move || {
                let _thread = thread;
                work()
            };
            Some(offload::run(work).await)
        };
        async move {
            timeout(limit, working).await.ok().flatten().unwrap_or_else(|| ControlResponse::Failed {
                message: format!(
                    "the files were not read within {} s; does a file system not respond? See `df` and `dmesg`",
                    limit.as_secs()
                ),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_gets_a_response_although_the_threads_of_earlier_ones_are_blocked() {
        let disk = Disk { limit: Duration::from_millis(100), ..Disk::new() };
        let (unblock, blocked) = std::sync::mpsc::channel::<()>();
        let blocked = Arc::new(std::sync::Mutex::new(blocked));
        let done = || ControlResponse::Done { message: String::new() };
        for _ in 0..2 * MAX_THREADS {
            let blocked = Arc::clone(&blocked);
            let response = disk.run(move || {
                let _ended = blocked.lock().map(|blocked| blocked.recv());
                done()
            });
            let response = response.await;
            assert!(matches!(&response, ControlResponse::Failed { message } if message.contains("not read")));
        }
        assert_eq!(disk.threads.available_permits(), 0, "no more threads than these are blocked");
        drop(unblock);
        let disk = Disk { limit: Duration::from_secs(30), ..disk };
        assert!(matches!(disk.run(done).await, ControlResponse::Done { .. }));
    }
}
