//! A program that gets a notice.

use std::time::Duration;

use nightshift_core::notify::Notice;

use crate::SendError;
use crate::command::{self, Program};

/// The time in which a program has to end.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a program with a notice on its standard input.
pub async fn run(argv: &[String], notice: &Notice, input: &[u8]) -> Result<(), SendError> {
    let environment = vec![("NIGHTSHIFT_ID", notice.id.clone())];
    let program = Program { argv, environment, input, timeout: TIMEOUT, logged: false };
    Ok(command::run(&program).await?)
}
