//! The only place where an error and its causes become text for a user.

use std::error::Error;
use std::process::ExitCode;

use crate::commands::CommandError;
use crate::exit::Exit;
use crate::out;

pub fn end(result: Result<Exit, CommandError>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            // The diagnostics of a config are printed as they are.
            if let CommandError::Config(diagnostics) = &error {
                out::print_error(diagnostics.trim_end());
            } else {
                out::print_error(&format!("nightshift: {}", in_full(&error)));
            }
            error.exit().into()
        }
    }
}

/// The error with its causes, in one line.
pub fn in_full(error: &(dyn Error + 'static)) -> String {
    nightshift_core::chain(error)
}
