//! `nightshift run`: starts stages or the whole night now, through the daemon.

use std::path::{Path, PathBuf};

use nightshift_core::stage::Stage;
use nightshift_engine::control::{Answer, Request, ask};

use super::CommandError;
use crate::args::Run;
use crate::config_file;
use crate::exit::Exit;
use crate::out;

pub async fn run(config: &Path, args: Run) -> Result<Exit, CommandError> {
    let request = if args.what == ["night"] {
        Request::RunNight { wait: args.wait }
    } else {
        let stages = args.what.iter().map(|stage| stage.parse::<Stage>()).collect::<Result<_, _>>();
        let stages = stages.map_err(|error| CommandError::Usage(format!("{error}, or only `night`")))?;
        Request::Run { stages, night: args.night, wait: args.wait }
    };
    Ok(print_response(ask(&socket(config), &request).await?))
}

/// The path of the daemon's socket in the config, which may be otherwise invalid.
pub fn socket(config: &Path) -> PathBuf {
    nightshift_config::socket(&config_file::sources(config).unwrap_or_default())
}

/// Prints a response of the daemon and returns the exit code.
pub fn print_response(answer: Answer) -> Exit {
    let (message, exit) = match answer {
        Answer::Done { message } => {
            out::print(message);
            return Exit::Good;
        }
        Answer::Degraded { message } => (message, Exit::Degraded),
        Answer::Failed { message } => (message, Exit::Failed),
        Answer::Busy { message } => (message, Exit::Busy),
        Answer::ConfigRefused { diagnostics } => (diagnostics, Exit::Config),
        Answer::Status(_) | Answer::Readable { .. } => {
            ("unexpected response from the daemon (version mismatch?)".to_owned(), Exit::Failed)
        }
    };
    out::print_error(&message);
    exit
}
