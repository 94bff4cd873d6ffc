//! `nightshift metrics`: the metrics as text, from the daemon, or from the files if it is not running. Two hidden commands for systemd
//! use the file that the daemon writes, and neither the vault nor the daemon.

mod http;

use std::path::Path;

use jiff::Timestamp;
use nightshift_engine::metrics_file;
use nightshift_store::become_owner_of;

use super::{CommandError, status};
use crate::exit::Exit;
use crate::{config_file, out, report};

pub async fn run(config: &Path) -> Result<Exit, CommandError> {
    let report = match config_file::settings(config) {
        Ok(settings) => match status::current(&settings, true).await? {
            Ok(report) => report,
            Err(other) => return Ok(super::run::print_response(other)),
        },
        Err(invalid @ CommandError::Config(_)) => status::of_daemon(config, true).await.ok_or(invalid)?,
        Err(error) => return Err(error),
    };
    let text = metrics_file::text(&report, Timestamp::now());
    out::print_text(text.map_err(CommandError::failed("cannot write the metrics"))?.trim_end());
    Ok(Exit::Good)
}

/// Answers one request.
pub fn serve(report: &Path) -> Result<Exit, CommandError> {
    http::answer(|| {
        let report = metrics_file::read(report)?;
        Ok(report.map(|report| metrics_file::text(&report, Timestamp::now())).transpose()?)
    })
    .map_err(CommandError::failed("cannot answer the request"))?;
    Ok(Exit::Good)
}

/// Reports a failure and succeeds: a stop of the daemon does not fail because of its metrics.
pub fn stopped(config: &Path) -> Result<Exit, CommandError> {
    let write = || {
        // The daemon may have ended because of an invalid config.
        let state = nightshift_config::state(&config_file::sources(config).unwrap_or_default());
        become_owner_of(&state)?;
        Ok::<_, CommandError>(metrics_file::write_stopped(&state)?)
    };
    if let Err(error) = write() {
        out::print_error(&format!("the metrics still say that the daemon runs: {}", report::in_full(&error)));
    }
    Ok(Exit::Good)
}
