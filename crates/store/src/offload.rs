//! Work that blocks or needs much CPU runs on threads of its own, so that the runtime's workers stay free for keepalives and
//! the watchdog.

use tokio::task::JoinHandle;

/// Runs `work` on a thread of its own; dropping the handle does not stop it.
#[allow(clippy::disallowed_methods)] // only this and the supervisor spawn
pub fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

/// Runs `work` on a thread of its own and waits for it. Its panic continues in this task.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match offload(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Such work is aborted only when the runtime shuts down, which ends this task too.
            Err(_) => std::future::pending().await,
        },
    }
}
