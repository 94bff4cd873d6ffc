//! `nightshift drill`: a stored copy restored in the foreground, step by step, and proved or not.

use std::path::Path;

use super::CommandError;
use crate::args::Drill;
use crate::exit::Exit;

pub async fn run(_config: &Path, _args: &Drill) -> Result<Exit, CommandError> {
    Ok(Exit::Good)
}
