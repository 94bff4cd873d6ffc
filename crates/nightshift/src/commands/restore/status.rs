//! `nightshift restore status`: how far a plan is, for a second terminal.

use std::path::Path;

use nightshift_core::restore::steps::groups;
use nightshift_restore::directory::{Directory, StepEnd};

use crate::commands::CommandError;
use crate::exit::Exit;
use crate::out;

pub fn run(path: &Path) -> Result<Exit, CommandError> {
    let (directory, plan) = Directory::open(path)?;
    let last = directory.last_lines()?;
    // A command that works on the plan has it locked.
    let is_worked_on = directory.lock().is_err();
    let mut rows = Vec::new();
    let (mut open, mut failed) = (0, false);
    for step in groups(&plan).into_iter().flat_map(|group| group.steps) {
        let line = last.get(&(step.number.clone(), step.host.clone()));
        let state = match line.map(|line| &line.end) {
            None => "waiting",
            Some(None) if is_worked_on => "running",
            Some(None) => "interrupted",
            Some(Some(StepEnd::Done { .. })) => "done",
            Some(Some(StepEnd::Failed { .. })) => "failed",
            Some(Some(StepEnd::Later { .. })) => "skipped",
        };
        open += usize::from(state != "done");
        failed |= state == "failed";
        rows.push(vec![step.number, step.host.to_string(), state.to_owned(), step.action.title()]);
    }
    out::print_table(&["STEP", "HOST", "STATE", "WHAT"], rows);
    Ok(match (open, failed) {
        (0, _) => Exit::Good,
        (_, true) => Exit::Failed,
        (_, false) => Exit::Degraded,
    })
}
