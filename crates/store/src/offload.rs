//! Work that blocks or burns CPU, taken off the runtime's workers so that keepalives and the watchdog go on.

use tokio::task::JoinHandle;

/// Runs `work` on a thread of its own; dropping the handle does not end it.
#[allow(clippy::disallowed_methods)] // one of the two places that may spawn; the other is the supervisor
pub fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

/// Runs `work` off the workers and waits for it; its panic becomes this task's.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match offload(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Offloaded work is aborted only when the runtime ends, and then nobody waits any more.
            Err(_) => std::future::pending().await,
        },
    }
}
