//! `nightshift restore check`: the members' data on this machine, and the machines of the plan.

use std::path::Path;

use jiff::Timestamp;
use nightshift_restore::conductor::Conductor;
use nightshift_restore::data;
use nightshift_restore::directory::Directory;
use nightshift_restore::login::Login;
use nightshift_restore::ready;

use crate::commands::CommandError;
use crate::exit::Exit;
use crate::out;

pub async fn run(path: &Path, tools: Option<&Path>, login: &Login) -> Result<Exit, CommandError> {
    let (directory, plan) = Directory::open(path)?;
    let _lock = directory.lock()?;
    if plan.is_refused() {
        for finding in plan.refusals() {
            out::print(format!("refused: {}", finding.text));
        }
        return Ok(Exit::Failed);
    }
    let data = data::ensure(&directory, &plan, tools).await?;
    if let Some(data) = &data {
        out::print(format!("etcd's data: made and tested with {}", data.tools));
    }
    let found = ready::check(login, &plan, data.as_ref()).await;
    for machine in &found {
        let state = match (machine.reasons.is_empty(), machine.later) {
            (false, _) => "FAIL",
            (true, true) => "SKIPPED",
            (true, false) => "OK",
        };
        let details: Vec<&str> = machine.reasons.iter().chain(&machine.notes).map(String::as_str).collect();
        out::print(format!("{:<8} {}  {}", state, machine.host, details.join("; ")).trim_end());
    }
    let mut checked = ready::summary(&found, Timestamp::now());
    let conductor = Conductor { login, directory: &directory, plan: &plan, data: data.as_ref() };
    if let Err(error) = conductor.require_lost_quorum().await {
        out::print(format!("FAIL     {error}"));
        checked.reasons.push(error.to_string());
    }
    directory.set_checked(&checked)?;
    if !checked.reasons.is_empty() {
        out::print("the machines are not ready; nothing was changed");
        return Ok(Exit::Failed);
    }
    out::print(format!("the machines are ready; next: nightshift restore apply {}", path.display()));
    Ok(if checked.later.is_empty() { Exit::Good } else { Exit::Degraded })
}
