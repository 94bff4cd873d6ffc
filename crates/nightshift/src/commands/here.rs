//! A runtime for a command that is over soon.

use super::CommandError;

/// Runs a short command on this thread.
pub fn here<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::failed("cannot start the async runtime"))?
        .block_on(work)
}
