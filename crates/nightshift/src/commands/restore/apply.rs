//! `nightshift restore apply`: carries the plan out, and continues it after an interruption.

use std::path::Path;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use nightshift_core::restore::scope::Scope;
use nightshift_core::restore::steps::{Action, Step};
use nightshift_restore::conductor::{Conductor, Ending};
use nightshift_restore::data;
use nightshift_restore::directory::{Directory, StepEnd};
use nightshift_restore::login::Login;
use nightshift_restore::progress::Progress;

use crate::commands::CommandError;
use crate::exit::Exit;
use crate::out;

/// What was checked earlier says little about the machines of now.
const MAX_CHECK_AGE: SignedDuration = SignedDuration::from_hours(4);

pub async fn run(path: &Path, login: &Login) -> Result<Exit, CommandError> {
    let (directory, plan) = Directory::open(path)?;
    let _lock = directory.lock()?;
    let shown = path.display();
    match directory.checked()? {
        _ if directory.is_undone() => {
            return Err(CommandError::Absent(format!("{shown} is undone; make a new plan")));
        }
        _ if plan.is_refused() => {
            return Err(CommandError::Absent(format!("{shown}: the plan is refused; see {shown}/page.txt")));
        }
        Some(checked) if checked.reasons.is_empty() => {
            let began = !directory.log_lines()?.is_empty();
            let is_old = Timestamp::now().duration_since(checked.at) > MAX_CHECK_AGE;
            // An interrupted restore continues at any age.
            if is_old && !began {
                return Err(CommandError::Absent(format!(
                    "the machines were checked at {}; run `nightshift restore check {shown}` again",
                    checked.at
                )));
            }
        }
        _ => {
            return Err(CommandError::Absent(format!(
                "the machines were not checked, or are not ready; run `nightshift restore check {shown}` first"
            )));
        }
    }
    let data = data::ensure(&directory, &plan, None).await?;
    let began = Instant::now();
    let conductor = Conductor { login, directory: &directory, plan: &plan, data: data.as_ref() };
    let ending = conductor.apply(&mut Lines).await?;
    let what = match &plan.scope {
        Scope::Cluster => format!("cluster {}", plan.cluster),
        Scope::Etcd => format!("etcd of cluster {}", plan.cluster),
        Scope::Host(host) | Scope::Files { host, .. } => host.to_string(),
    };
    let restored = format!("{what} is restored, after {} s", began.elapsed().as_secs());
    Ok(report(ending, &restored, &format!("`nightshift restore apply {shown}` continues")))
}

/// Prints how a plan ended.
pub fn report(ending: Ending, complete: &str, next: &str) -> Exit {
    match ending {
        Ending::Complete => {
            out::print(complete);
            Exit::Good
        }
        Ending::Degraded(reasons) => {
            for reason in reasons {
                out::print(reason);
            }
            out::print(format!("{complete}, but the extra night is not complete"));
            Exit::Degraded
        }
        Ending::Later(hosts) => {
            for host in hosts {
                out::print(format!(
                    "{host} is skipped; run the same command again when it is reachable and its error is mended"
                ));
            }
            Exit::Degraded
        }
        Ending::Failed(reasons) => {
            for reason in reasons {
                out::print_error(&format!("nightshift: {reason}"));
            }
            out::print_error(&format!("nightshift: stopped; {next}"));
            Exit::Failed
        }
    }
}

/// One line for each step.
pub struct Lines;

impl Progress for Lines {
    fn note(&mut self, text: &str) {
        out::print(text);
    }

    fn ended(&mut self, step: &Step, end: &StepEnd) {
        let (result, notes) = match end {
            StepEnd::Done { changed: true, notes } => ("done", notes.join("; ")),
            StepEnd::Done { changed: false, notes } => {
                let verified = matches!(step.action, Action::Compare | Action::Write | Action::Promote);
                (if verified { "verified" } else { "unchanged" }, notes.join("; "))
            }
            StepEnd::Failed { reason } => ("failed", reason.clone()),
            StepEnd::Later { reason } => ("skipped", reason.clone()),
        };
        let notes = if notes.is_empty() { String::new() } else { format!(": {notes}") };
        out::print(format!("{:<6} {}: {}: {result}{notes}", step.number, step.host, step.action.title()));
    }
}
