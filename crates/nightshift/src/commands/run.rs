//! `nightshift run`: starts stages or the whole night now, through the daemon.

use std::path::{Path, PathBuf};

use nightshift_core::stage::Stage;
use nightshift_engine::control::{ControlRequest, ControlResponse, send};

use super::CommandError;
use crate::args::Run;
use crate::exit::Exit;
use crate::{config_file, out};

pub async fn run(config: &Path, args: Run) -> Result<Exit, CommandError> {
    let Run { what, wait, night, again } = args;
    let request = if what == ["night"] {
        ControlRequest::RunNight { wait, night, again, stages: Vec::new(), restored: None, backup: None }
    } else {
        let stages = what.iter().map(|stage| stage.parse::<Stage>()).collect::<Result<Vec<_>, _>>();
        let stages = stages.map_err(|error| CommandError::Usage(format!("{error}, or only `night`")))?;
        if let Some(stage) = stages.iter().find(|stage| again && stage.makes().is_none()) {
            return Err(CommandError::Usage(format!(
                "{stage} makes no set, so `--again` does not apply to it"
            )));
        }
        ControlRequest::Run { stages, night, wait, again }
    };
    Ok(print_response(send(&socket(config), &request).await?))
}

/// A response to another request.
pub const UNEXPECTED: &str =
    "unexpected response from the daemon: it may have another version; restart nightshift.service";

/// The path of the daemon's socket in the config, which may be otherwise invalid.
pub fn socket(config: &Path) -> PathBuf {
    nightshift_config::socket(&config_file::sources(config).unwrap_or_default())
}

/// Prints a response of the daemon and returns the exit code.
pub fn print_response(answer: ControlResponse) -> Exit {
    let (message, exit) = match answer {
        ControlResponse::Done { message } => {
            out::print_text(&message);
            return Exit::Good;
        }
        ControlResponse::Degraded { message } => (message, Exit::Degraded),
        ControlResponse::Failed { message } => (message, Exit::Failed),
        ControlResponse::Refused { message } => (message, Exit::Usage),
        ControlResponse::Busy { message } => (message, Exit::Busy),
        ControlResponse::ConfigRefused { diagnostics } => (diagnostics, Exit::Config),
        ControlResponse::Status(_) | ControlResponse::Readable { .. } => {
            (UNEXPECTED.to_owned(), Exit::Failed)
        }
    };
    out::print_error_text(&message);
    exit
}
