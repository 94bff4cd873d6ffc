//! `nightshift hook`: the hooks with their last results, and a test of one. A hidden command for systemd runs one hook: which one comes
//! over the connection, and its program from root's config.

use std::io;
use std::path::Path;
use std::time::Instant;

use jiff::Timestamp;
use nightshift_core::hook::{Ending, Hook, Moment, Request, Response};
use nightshift_core::name::HookName;
use nightshift_core::night::Night;
use nightshift_core::outcome::{Outcome, Verdict};
use nightshift_core::record::{HookReport, Record};
use nightshift_core::secret::masked_command;
use nightshift_core::settings::Settings;
use nightshift_core::units::{local_time, seconds};
use nightshift_engine::hooks::unit::{self, UNIT};
use nightshift_engine::unit_request::Connection;
use nightshift_notify::command::{self, Program};
use nightshift_store::records::Records;

use super::CommandError;
use crate::exit::Exit;
use crate::{config_file, out, report};

/// How many nights are searched for the last run of a hook, the newest first.
const MAX_NIGHTS: usize = 8;
const TEST: &str = "`nightshift hook --test NAME` runs a hook";

pub async fn run(config: &Path, test: Option<HookName>) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    match test {
        Some(name) => self::test(&settings, &name).await,
        None => list(&settings),
    }
}

/// Runs a hook as after a good stage or night.
async fn test(settings: &Settings, name: &HookName) -> Result<Exit, CommandError> {
    let Some(hook) = settings.hooks.iter().find(|hook| hook.name == *name) else {
        let names: Vec<&str> = settings.hooks.iter().map(|hook| hook.name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(CommandError::Usage(format!("the config has no hook {name}; its hooks are: {names}")));
    };
    let now = Timestamp::now();
    let window = &settings.window;
    let night = Night::of(window.open_at(now).unwrap_or_else(|| window.next_after(now)));
    let outcome = (hook.at.moment == Moment::After).then_some(match hook.at.stage {
        Some(_) => Ending::Stage(Outcome::Done),
        None => Ending::Night(Verdict::Complete),
    });
    let (begun, socket) = (Instant::now(), UNIT.socket(settings));
    let ended = match unit::request(&socket, hook, night, outcome).await {
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            return Err(CommandError::Read { path: socket, source });
        }
        ended => ended,
    };
    let took = seconds(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
    match unit::failure(&socket, ended) {
        None => {
            out::print(format!("{name}: succeeded in {took}"));
            Ok(Exit::Good)
        }
        Some(reason) => {
            out::print_error(&format!("{name}: failed after {took}: {reason}"));
            Ok(Exit::Failed)
        }
    }
}

fn list(settings: &Settings) -> Result<Exit, CommandError> {
    if settings.hooks.is_empty() {
        out::print("the config has no hooks ([[hook]])");
        return Ok(Exit::Good);
    }
    let records = newest(settings)?;
    let rows = settings.hooks.iter().map(|hook| {
        vec![
            hook.name.to_string(),
            hook.at.to_string(),
            last_run(settings, &records, hook),
            masked_command(&hook.argv),
        ]
    });
    out::print_table(&["HOOK", "WHEN", "LAST", "COMMAND"], rows);
    Ok(Exit::Good)
}

fn newest(settings: &Settings) -> Result<Vec<Record>, CommandError> {
    let records = Records::new(settings.paths.records());
    let nights = records.nights()?.into_iter().rev().take(MAX_NIGHTS);
    // One that cannot be read is a warning of the status.
    Ok(nights.filter_map(|night| records.read(night).ok().flatten()).collect())
}

fn last_run(settings: &Settings, records: &[Record], hook: &Hook) -> String {
    if !hook.at.runs_on(settings.roles()) {
        return "this host does not run the stage".to_owned();
    }
    let reports = records.iter().filter_map(|record| record.hooks.iter().find(|it| it.name == hook.name));
    let ended = reports.filter(|report| report.ended.is_some());
    ended.max_by_key(|report| report.ended).map_or("never".to_owned(), |report| shown(settings, report))
}

fn shown(settings: &Settings, report: &HookReport) -> String {
    let at = report.ended.map(|at| local_time(at, &settings.window.zone)).unwrap_or_default();
    let outcome = report.outcome.map_or("due", Outcome::as_str);
    let reason = report.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{outcome} at {at} in {}{reason}", seconds(report.duration_ms))
}

/// Runs the hook of one connection, and answers how it ended.
pub async fn serve(config: &Path) -> Result<Exit, CommandError> {
    let mut connection = Connection::of_systemd().map_err(CommandError::no_request(TEST))?;
    let ended = match connection.request::<Request>().await {
        Err(error) => Err(CommandError::no_request(TEST)(error)),
        Ok(request) => tokio::select! {
            ended = run_one(config, &request) => ended,
            // The daemon does not wait any more, and will run the hook again: the program is killed.
            () = connection.closed() => {
                let stopped = format!("the daemon no longer waits for hook {}; it was killed", request.hook);
                return Err(CommandError::Absent(stopped));
            }
        },
    };
    let response = match ended {
        Ok(()) => Response::Succeeded,
        Err(error) => Response::Failed(report::in_full(&error)),
    };
    connection.answer(&response).await.map_err(CommandError::Output)?;
    Ok(Exit::Good)
}

async fn run_one(config: &Path, request: &Request) -> Result<(), CommandError> {
    let (hook, this) = config_file::hook(config, &request.hook)?;
    request.check(&hook).map_err(CommandError::Absent)?;
    let program = Program {
        argv: &hook.argv,
        environment: request.environment(&this),
        input: b"",
        timeout: hook.timeout,
        logged: true,
    };
    Ok(command::run(&program).await?)
}
