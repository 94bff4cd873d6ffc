//! `nightshift restore`: the plan, the check of the machines, and the rebuild.

mod act;

use std::path::Path;

use super::CommandError;
use crate::args::Restore;
use crate::exit::Exit;

pub fn run(config: &Path, command: Restore) -> Result<Exit, CommandError> {
    match command {
        Restore::Act => act::run(config),
    }
}
