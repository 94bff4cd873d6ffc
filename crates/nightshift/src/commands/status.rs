//! `nightshift status`: the current or last night, from the daemon, or from the records if it is not running. Every line fits
//! into 80 columns; `nightshift nights NIGHT` has the details.

mod blocks;
mod night;
mod screen;
mod sets;
mod summary;
#[cfg(test)]
mod tests;
mod unit;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nightshift_core::reason::{Reason, ReasonCode};
use nightshift_core::settings::Settings;
use nightshift_engine::control::{ClientError, ControlRequest, ControlResponse, send};
use nightshift_engine::status::{self, Report};

use super::CommandError;
use crate::args::{self, DEFAULT_CONFIG};
use crate::config_file;
use crate::exit::Exit;
use crate::out;
use crate::report;

pub use night::{details, night_lines};

const REPAINT_INTERVAL: Duration = Duration::from_secs(2);

pub async fn run(config: &Path, args: &args::Status) -> Result<Exit, CommandError> {
    if args.plugin {
        return Ok(plugin(report_of(config).await));
    }
    if args.watch {
        return watch(config).await;
    }
    let (zone, report) = match report_of(config).await? {
        (zone, Ok(report)) => (zone, report),
        (_, Err(other)) => return Ok(super::run::print_response(other)),
    };
    if args.json {
        out::print_json(&report)?;
    } else if args.line {
        out::print(summary::line(&report));
    } else {
        out::print_text(&screen::lines(&report, &zone, out::terminal()).join("\n"));
    }
    Ok(if report.needs_attention() { Exit::Degraded } else { Exit::Good })
}

type Reported = (TimeZone, Result<Report, ControlResponse>);

async fn report_of(config: &Path) -> Result<Reported, CommandError> {
    let (zone, mut report) = match config_file::settings(config) {
        Ok(settings) => (settings.window.zone.clone(), current(&settings, false).await?),
        Err(invalid @ CommandError::Config(_)) => {
            (TimeZone::system(), Ok(of_daemon(config, false).await.ok_or(invalid)?))
        }
        Err(error) => return Err(error),
    };
    // Another configuration is that of a daemon that an operator starts by hand.
    if let Ok(report) = &mut report
        && report.daemon.is_some()
        && config == Path::new(DEFAULT_CONFIG)
        && unit::is_disabled(Path::new("/"))
    {
        let what = "nightshift.service is disabled, so it does not start at the next boot; enable it: systemctl enable nightshift";
        report.warnings.push(Reason::new(ReasonCode::UnitDisabled, what));
    }
    Ok((zone, report))
}

/// The report of a daemon that runs on with the config that it has loaded, while the one on disk is invalid. The report says so.
pub async fn of_daemon(config: &Path, facts: bool) -> Option<Report> {
    match send(&super::run::socket(config), &ControlRequest::Status { facts }).await {
        Ok(ControlResponse::Status(report)) => Some(*report),
        _ => None,
    }
}

/// Every end of a plugin is one of its four states, with a line on standard output.
fn plugin(reported: Result<Reported, CommandError>) -> Exit {
    let (state, text) = match reported {
        Ok((_, Ok(report))) => summary::plugin(&report),
        Ok((_, Err(ControlResponse::Failed { message }))) => summary::unknown(&message),
        Ok((_, Err(_))) => summary::unknown("the daemon sent another response"),
        // No daemon can start with an invalid config, and none runs.
        Err(error @ (CommandError::NoAnswer { .. } | CommandError::Config(_))) => {
            summary::critical(&report::in_full(&error))
        }
        Err(error) => summary::unknown(&report::in_full(&error)),
    };
    out::print_text(&text);
    state.into()
}

async fn watch(config: &Path) -> Result<Exit, CommandError> {
    loop {
        // A terminal may change its size.
        let Some(size) = out::terminal() else {
            return Err(CommandError::Usage(
                "--watch needs a terminal; without one, run status again and again".into(),
            ));
        };
        let lines = match report_of(config).await? {
            (zone, Ok(report)) => screen::lines(&report, &zone, Some(size)),
            (_, Err(other)) => return Ok(super::run::print_response(other)),
        };
        out::repaint(&lines, size.rows);
        tokio::time::sleep(REPAINT_INTERVAL).await;
    }
}

/// The status from the daemon, or from the files if it does not run or does not respond; else what the daemon responded.
pub async fn current(
    settings: &Settings,
    facts: bool,
) -> Result<Result<Report, ControlResponse>, CommandError> {
    let read = || {
        let now = Timestamp::now();
        let report = status::report(settings, now)?;
        if facts { status::with_facts(settings, report, now) } else { Ok(report) }
    };
    let from_disk = |daemon: Option<&str>, code, warning: String| {
        let mut report = read().map_err(|source| CommandError::NoAnswer { what: warning.clone(), source })?;
        report.warnings.push(Reason::new(code, warning));
        if let Some(night) = &mut report.night {
            night.stopped = night.open && daemon.is_none();
        }
        Ok::<_, CommandError>(Report { daemon: daemon.map(str::to_owned), ..report })
    };
    let report = match send(&settings.paths.socket(), &ControlRequest::Status { facts }).await {
        Ok(ControlResponse::Status(report)) => *report,
        Ok(ControlResponse::Busy { message }) => from_disk(Some("busy"), ReasonCode::DaemonBusy, message)?,
        Ok(other) => return Ok(Err(other)),
        Err(error @ ClientError::Silent(_)) => {
            from_disk(Some("not responding"), ReasonCode::DaemonSilent, error.to_string())?
        }
        // A daemon that ends during the request counts as not running.
        Err(ClientError::Away { .. } | ClientError::BrokenOff(_)) => from_disk(
            None,
            ReasonCode::DaemonDown,
            "the daemon does not run, so no night opens; start it: systemctl enable --now nightshift"
                .to_owned(),
        )?,
        Err(error) => return Err(error.into()),
    };
    Ok(Ok(report))
}
