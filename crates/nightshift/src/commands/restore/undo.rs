//! `nightshift restore undo`: stops what a plan has started, and moves everything back.

use std::path::Path;

use nightshift_restore::conductor::Conductor;
use nightshift_restore::data;
use nightshift_restore::directory::Directory;
use nightshift_restore::login::Login;

use super::apply::{Lines, report};
use crate::commands::CommandError;
use crate::exit::Exit;

pub async fn run(path: &Path, discard_writes: bool, login: &Login) -> Result<Exit, CommandError> {
    let (directory, plan) = Directory::open(path)?;
    let _lock = directory.lock()?;
    if directory.log_lines()?.is_empty() {
        return Err(CommandError::Absent(format!(
            "{} was not applied, so there is nothing to undo",
            path.display()
        )));
    }
    let data = data::made(&directory)?;
    let conductor = Conductor { login, directory: &directory, plan: &plan, data: data.as_ref() };
    let ending = conductor.undo(discard_writes, &mut Lines).await?;
    let undone = format!("plan {} is undone; what it had put in place is kept on each machine", plan.id);
    Ok(report(ending, &undone, &format!("`nightshift restore undo {}` continues", path.display())))
}
