//! `nightshift run`: stages, or the whole night, now and through the daemon.

use std::path::{Path, PathBuf};

use nightshift_core::stage::Stage;
use nightshift_engine::control::{Answer, Request, ask};

use super::CommandError;
use crate::args::Run;
use crate::config_file;
use crate::exit::Exit;
use crate::out;

pub async fn run(config: &Path, args: Run) -> Result<Exit, CommandError> {
    let request = match wish(&args)? {
        Wish::Night => Request::RunNight { wait: args.wait },
        Wish::Stages(stages) => Request::Run { stages, night: args.night, wait: args.wait },
    };
    Ok(tell(ask(&socket(config), &request).await?))
}

enum Wish {
    Night,
    Stages(Vec<Stage>),
}

fn wish(args: &Run) -> Result<Wish, CommandError> {
    if args.what == ["night"] {
        return Ok(Wish::Night);
    }
    let stages = args.what.iter().map(|word| word.parse()).collect::<Result<_, _>>();
    stages.map(Wish::Stages).map_err(|error| CommandError::Usage(format!("{error}, or `night` alone")))
}

/// Where the daemon listens: where the config says, however wrong it may be.
pub fn socket(config: &Path) -> PathBuf {
    nightshift_config::socket(&config_file::sources(config).unwrap_or_default())
}

/// Prints an answer and turns it into an exit code.
pub fn tell(answer: Answer) -> Exit {
    let (message, exit) = match answer {
        Answer::Done { message } => {
            out::say(message);
            return Exit::Good;
        }
        Answer::Degraded { message } => (message, Exit::Degraded),
        Answer::Failed { message } => (message, Exit::Failed),
        Answer::Busy { message } => (message, Exit::Busy),
        Answer::ConfigRefused { diagnostics } => (diagnostics, Exit::Config),
        Answer::Status(_) | Answer::Readable { .. } => {
            ("the daemon answered something else than what was asked".to_owned(), Exit::Failed)
        }
    };
    out::complain(&message);
    exit
}
