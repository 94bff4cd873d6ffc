//! `nightshift daemon`: what systemd runs.

use std::path::PathBuf;
use std::time::Duration;

use nightshift_engine::{daemon, logging};

use super::CommandError;
use crate::config_file;
use crate::exit::Exit;
use crate::report;

/// Enough for the network beside one stage's CPU: what burns more runs on threads of its own.
const WORKERS: usize = 2;
/// Threads for files and compression; more work than that waits.
const OFFLOADED: usize = 96;

/// How long threads may go on once everything else has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

pub fn run(config: PathBuf) -> Result<Exit, CommandError> {
    logging::begin();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(OFFLOADED)
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    let load: daemon::Load = Box::new(move || {
        let loaded = config_file::load(&config).map_err(|error| report::in_full(&error))?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        Ok(loaded.settings)
    });
    let ran = runtime.block_on(daemon::run(load));
    // What still blocks after the drain is given no more time: it is resumed at the next start.
    runtime.shutdown_timeout(LAST_WORDS);
    ran?;
    Ok(Exit::Good)
}
