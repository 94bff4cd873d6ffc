//! `nightshift nights`: lists the recorded nights, shows one in detail, or closes an extra night.

use std::path::Path;

use nightshift_core::night::Night;
use nightshift_core::record::Record;
use nightshift_engine::control::{ControlRequest, send};
use nightshift_engine::status;
use nightshift_store::records::Records;

use super::CommandError;
use super::run::{print_response, socket};
use crate::exit::Exit;
use crate::out::{self, rows_of, wrapped};
use crate::{config_file, report};

pub fn run(config: &Path, night: Option<Night>, json: bool) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let records = Records::new(settings.paths.records());
    if let Some(night) = night {
        let Some(record) = records.read(night)? else {
            return Err(CommandError::Usage(format!(
                "no night {night} is recorded on this host; list the recorded nights with `nightshift nights`"
            )));
        };
        if json {
            out::print_json(&record)?;
            return Ok(Exit::Good);
        }
        let (night, zone) = (status::night_report(&settings, record), &settings.window.zone);
        let lines = [super::status::night_lines(&night, zone), super::status::details(&night)].concat();
        out::print_text(&lines.join("\n"));
        for reason in &night.unreadable {
            out::print_error(&format!("unreadable: {reason}"));
        }
        return Ok(if night.unreadable.is_empty() { Exit::Good } else { Exit::Degraded });
    }
    let mut all = Vec::new();
    let mut exit = Exit::Good;
    for night in records.nights()?.into_iter().rev() {
        match records.read(night) {
            Ok(record) => all.extend(record),
            Err(error) => {
                out::print_error(&format!("night {night}: {}", report::in_full(&error)));
                exit = Exit::Degraded;
            }
        }
    }
    if json {
        out::print_json(&all)?;
    } else {
        out::print_text(&table(&all).join("\n"));
    }
    Ok(exit)
}

/// Closes the open extra night, through the daemon.
pub async fn close(config: &Path) -> Result<Exit, CommandError> {
    Ok(print_response(send(&socket(config), &ControlRequest::CloseNight).await?))
}

/// A table of the nights. The reasons of a night follow its row.
fn table(records: &[Record]) -> Vec<String> {
    let rows = rows_of(&["NIGHT", "VERDICT", "SETS", "ARCHIVES"], records.iter().map(row));
    let mut lines = Vec::new();
    // The first line of the table is its header.
    for (row, record) in rows.lines().zip(std::iter::once(None).chain(records.iter().map(Some))) {
        lines.push(row.to_owned());
        let closed = record.and_then(|record| record.closed.as_ref());
        let reasons = closed.map(|closed| closed.reasons.as_slice()).unwrap_or_default();
        lines.extend(reasons.iter().flat_map(|reason| wrapped("  ! ", reason)));
    }
    lines
}

fn row(record: &Record) -> Vec<String> {
    let verdict = match &record.closed {
        Some(closed) => closed.verdict.to_string(),
        None if status::is_settled(record) => format!("{} so far", status::judgement(record).verdict),
        None => "running".to_owned(),
    };
    let stored = record.sets.iter().filter(|report| report.fate.is_stored()).count();
    vec![record.night.to_string(), verdict, stored.to_string(), record.archives.len().to_string()]
}
