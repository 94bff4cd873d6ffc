//! The only place where an error and its causes become text for a user.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use nightshift_engine::daemon::DaemonError;

use crate::commands::CommandError;
use crate::exit::{Exit, PluginState};
use crate::out;

pub fn end(result: Result<Exit, CommandError>) -> ExitCode {
    let result = match result {
        Err(CommandError::Arguments(help)) if !help.use_stderr() => {
            out::keep_failure(help.print());
            Ok(Exit::Good)
        }
        result => result,
    };
    // What could not be written is missing for the reader, whatever the command did.
    let result = result.and_then(|exit| out::end().map(|()| exit).map_err(CommandError::Output));
    match result {
        Ok(exit) => exit.into(),
        // Monitoring takes the usual exit codes for other states.
        Err(error @ (CommandError::Arguments(_) | CommandError::Output(_))) if is_plugin(env::args_os()) => {
            let fault = match &error {
                CommandError::Arguments(_) => "invalid arguments; see: nightshift status --help".to_owned(),
                error => in_full(error),
            };
            out::print_text(&format!("NIGHTSHIFT UNKNOWN - {fault}"));
            Exit::from(PluginState::Unknown).into()
        }
        Err(error) => {
            match lines(&error) {
                Some(lines) => out::print_error_text(lines.trim_end()),
                None => out::print_error(&format!("nightshift: {}{}", in_full(&error), remedy(&error))),
            }
            error.exit().into()
        }
    }
}

/// Whether these are the arguments of `status --plugin`, also if they are invalid.
fn is_plugin(arguments: impl Iterator<Item = OsString>) -> bool {
    let arguments: Vec<OsString> = arguments.collect();
    ["status", "--plugin"].iter().all(|word| arguments.iter().any(|argument| argument == word))
}

/// What to do about a file that this user may not read; the errors of the socket and of an act say it themselves.
fn remedy(error: &CommandError) -> &'static str {
    match error {
        CommandError::Client(_) | CommandError::Act(_) => "",
        error if error.exit() == Exit::Permission => "; run the command as root",
        _ => "",
    }
}

/// The text of a command's error: diagnostics with their lines, anything else in one line.
pub fn text(error: &CommandError) -> String {
    lines(error).unwrap_or_else(|| in_full(error))
}

fn lines(error: &CommandError) -> Option<String> {
    match error {
        CommandError::Config(diagnostics) | CommandError::Daemon(DaemonError::Config(diagnostics)) => {
            Some(diagnostics.clone())
        }
        // clap would print the arguments itself, and with them a secret that is among them.
        CommandError::Arguments(invalid) => Some(invalid.render().to_string()),
        _ => None,
    }
}

/// The error with its causes, in one line.
pub fn in_full(error: &(dyn Error + 'static)) -> String {
    nightshift_core::chain(error)
}

#[cfg(test)]
mod tests {
    use std::io;

    use nightshift_ssh::KnownHostsError;

    use super::*;

    #[test]
    fn a_file_that_may_not_be_read_comes_with_what_to_do() {
        let of =
            |kind: io::ErrorKind| CommandError::ReadConfig { path: "/etc/x".into(), source: kind.into() };
        assert_eq!(remedy(&of(io::ErrorKind::PermissionDenied)), "; run the command as root");
        assert_eq!(remedy(&of(io::ErrorKind::NotFound)), "");
        let source = io::ErrorKind::PermissionDenied.into();
        let pins = KnownHostsError::Read { path: "/etc/x".into(), source };
        assert_eq!(remedy(&pins.into()), "; run the command as root");
    }
}
