//! `nightshift daemon`: started by systemd.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nightshift_engine::{daemon, logging};
use nightshift_store::{capability, drop_root};

use super::CommandError;
use crate::exit::Exit;
use crate::{config_file, report};

/// Worker threads of the async runtime. Two are enough, because CPU-bound work runs on blocking threads.
const WORKER_THREADS: usize = 2;
/// The maximum number of blocking threads, for file access and compression; further work is queued.
const MAX_BLOCKING_THREADS: usize = 96;

/// How long blocking threads may continue after everything else has ended: a collected command may wait for ever.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

pub fn run(config: PathBuf, user: Option<&str>) -> Result<Exit, CommandError> {
    // Before anything is read or written, and before there is a second thread.
    if let Some(user) = user {
        let what = format!("cannot become the user {user} with CAP_DAC_READ_SEARCH alone");
        drop_root::become_user(user).map_err(CommandError::failed(what))?;
    }
    logging::begin();
    capability::withhold().map_err(CommandError::failed(
        "cannot withhold this process's capabilities from the programs that it runs",
    ))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(CommandError::failed("cannot start the async runtime"))?;
    let load: daemon::Load = Arc::new(move || {
        let loaded = config_file::load(&config).map_err(|error| report::text(&error))?;
        let warnings = loaded.warnings.iter().map(ToString::to_string).collect();
        Ok(daemon::LoadedConfig { settings: loaded.settings, warnings })
    });
    let ran = runtime.block_on(daemon::run(load));
    // Work that is still running after this is interrupted and resumed at the next start.
    runtime.shutdown_timeout(SHUTDOWN_GRACE);
    ran?;
    Ok(Exit::Good)
}
