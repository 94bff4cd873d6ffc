//! `nightshift notify`: what waits for each target, and a test of one. A hidden command for systemd sends one notice: what it sends
//! comes over the connection, and where to, from root's config.

use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::notify::{Exceptions, Notice, Request, Response, Target, reasons};
use nightshift_core::settings::Settings;
use nightshift_core::units::local_time;
use nightshift_engine::control::{ControlRequest, send as send_request};
use nightshift_engine::notify::queue::{GivenUp, Queue};
use nightshift_engine::notify::unit::{self, UNIT, outcome};
use nightshift_engine::unit_request::Connection;
use nightshift_store::StoreError;
use tokio::time::timeout;

use super::CommandError;
use crate::args::Notify;
use crate::exit::Exit;
use crate::{config_file, out, report};

/// A little less than RuntimeMaxSec= of the unit, so that there is an answer.
const LIMIT: Duration = Duration::from_secs(100);

pub async fn run(config: &Path, args: Notify) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let Some(name) = args.test else { return list(&settings) };
    let known = settings.notify.iter().any(|target| target.name == name);
    if !known {
        let names: Vec<&str> = settings.notify.iter().map(|target| target.name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(CommandError::Usage(format!(
            "the config has no target {name}; its targets are: {names}"
        )));
    }
    let now = Timestamp::now();
    let notice = Notice::test(&settings.cluster, &settings.this, now, &now.as_nanosecond().to_string());
    let id = notice.id.clone();
    let socket = UNIT.socket(&settings);
    let sent = match unit::send(&socket, &Request { target: name.clone(), notice, only: Vec::new() }).await {
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            return Err(CommandError::Read { path: socket, source });
        }
        sent => sent,
    };
    // A test is not repeated.
    let result = outcome(&socket, sent).map(|others| reasons(others.later.iter().chain(&others.refused)));
    if let Ok(refused) = &result {
        // The daemon's own state. Without a daemon, it stays until the next notice.
        let request = ControlRequest::Notified { target: name.clone(), refused: refused.clone() };
        let _not_running = send_request(&settings.paths.socket(), &request).await;
    }
    match result {
        Ok(None) => {
            out::print(format!("{name}: sent, with the id {id}"));
            Ok(Exit::Good)
        }
        Ok(Some(refused)) => {
            out::print(format!("{name}: sent, with the id {id}, but not accepted for {refused}"));
            Ok(Exit::Degraded)
        }
        Err(reason) => {
            out::print_error(&format!("{name}: not sent: {reason}"));
            Ok(Exit::Failed)
        }
    }
}

fn list(settings: &Settings) -> Result<Exit, CommandError> {
    if settings.notify.is_empty() {
        out::print("the config has no targets of notifications ([[notify]])");
    }
    let mut exit = Exit::Good;
    for target in &settings.notify {
        match line(settings, target) {
            Ok(line) => out::print(&line),
            Err(error) if is_denied(&error) => return Err(error.into()),
            // One that cannot be read does not hide the others. The daemon sets it aside.
            Err(error) => {
                out::print(format!("{}: {}", target.name, report::in_full(&error)));
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

fn is_denied(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

fn line(settings: &Settings, target: &Target) -> Result<String, StoreError> {
    let zone = &settings.window.zone;
    let queue = Queue::of(settings, &target.name);
    let state = queue.state()?;
    let last = state.last_success.map_or("never".to_owned(), |at| local_time(at, zone));
    let mut line = format!("{}: last notice sent: {last}; waiting: {}", target.name, queue.waiting()?);
    if let Some((_, first)) = queue.first()?
        && let Some(reason) = first.reason
    {
        line.push_str(&format!("; last attempt failed: {reason}"));
    }
    if let Some(refused) = state.refused {
        line.push_str(&format!("; not accepted for {refused}"));
    }
    if let Some(given_up) = state.given_up {
        let GivenUp { at, title, reason } = given_up;
        line.push_str(&format!("; given up at {}: {title}: {reason}", local_time(at, zone)));
    }
    Ok(line)
}

/// Sends the notice of one connection, and answers whether the receiver has it.
pub async fn send(config: &Path) -> Result<Exit, CommandError> {
    let mut connection = Connection::of_systemd().map_err(CommandError::no_request(TEST))?;
    let response = match send_one(config, &mut connection).await {
        Ok(others) if others.is_empty() => Response::Sent,
        Ok(others) => Response::SentExcept(others),
        Err(error) => Response::Failed(report::in_full(&error)),
    };
    // The connection may be closed: then the daemon sends the notice again.
    connection.answer(&response).await.map_err(CommandError::Output)?;
    Ok(Exit::Good)
}

async fn send_one(config: &Path, connection: &mut Connection) -> Result<Exceptions, CommandError> {
    let request: Request = connection.request().await.map_err(CommandError::no_request(TEST))?;
    let target = config_file::target(config, &request.target)?;
    let sending = nightshift_notify::send(&target, &request.notice, &request.only);
    let late = |_| CommandError::Absent(format!("the target did not answer within {} s", LIMIT.as_secs()));
    Ok(timeout(LIMIT, sending).await.map_err(late)??)
}

const TEST: &str = "`nightshift notify --test NAME` sends a test";
