//! `nightshift reload`: what `systemctl reload` runs, with the daemon's verdict as its own.

use std::path::Path;

use nightshift_engine::control::{Answer, Request, ask};

use super::CommandError;
use crate::exit::Exit;
use crate::out;

pub async fn run(config: &Path) -> Result<Exit, CommandError> {
    let socket = super::run::socket(config);
    match ask(&socket, &Request::Reload).await? {
        Answer::Done { message } => {
            out::say(message);
            Ok(Exit::Good)
        }
        Answer::ConfigRefused { diagnostics } => {
            out::complain(diagnostics.trim_end());
            out::complain("nightshift: the config is refused, the old one stays in force");
            Ok(Exit::Config)
        }
        other => Ok(super::run::tell(other)),
    }
}
