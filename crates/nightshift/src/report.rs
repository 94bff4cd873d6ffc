//! The only place where an error and all that lies below it is printed.

use std::process::ExitCode;

use crate::commands::CommandError;
use crate::exit::Exit;
use crate::out;

pub fn end(result: Result<Exit, CommandError>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            // A config's diagnostics are a text of their own.
            if let CommandError::Config(diagnostics) = &error {
                out::complain(diagnostics.trim_end());
            } else {
                out::complain(&format!("nightshift: {}", nightshift_core::chain(&error)));
            }
            error.exit().into()
        }
    }
}
