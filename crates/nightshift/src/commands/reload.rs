//! `nightshift reload`, which `systemctl reload` runs: its exit code is the daemon's result.

use std::path::Path;

use nightshift_engine::control::{ControlRequest, ControlResponse, send};

use super::CommandError;
use crate::exit::Exit;
use crate::out;

pub async fn run(config: &Path) -> Result<Exit, CommandError> {
    let socket = super::run::socket(config);
    match send(&socket, &ControlRequest::Reload).await? {
        ControlResponse::Done { message } => {
            out::print(message);
            Ok(Exit::Good)
        }
        ControlResponse::ConfigRefused { diagnostics } => {
            out::print_error_text(diagnostics.trim_end());
            out::print_error(
                "nightshift: the new config is refused; the daemon continues with the old one. Each notification and each hook reads its own \
                 table from the file as it is now, and works if that table is valid",
            );
            Ok(Exit::Config)
        }
        other => Ok(super::run::print_response(other)),
    }
}
