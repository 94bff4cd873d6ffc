//! Work that blocks or burns CPU, taken off the runtime's workers so that keepalives and the watchdog go on.

use tokio::task::JoinHandle;

/// Runs `work` on a thread of its own; dropping the handle does not end it.
#[allow(clippy::disallowed_methods)] // one of the two places that may spawn; the other is the supervisor
pub fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}
