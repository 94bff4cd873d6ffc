//! `nightshift nights`: the records.

use std::path::Path;

use nightshift_core::night::Night;
use nightshift_core::record::Record;
use nightshift_engine::status;
use nightshift_store::records::Records;

use super::CommandError;
use crate::config_file;
use crate::exit::Exit;
use crate::out;

pub fn run(config: &Path, night: Option<Night>, json: bool) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let records = Records::new(settings.paths.records());
    if let Some(night) = night {
        let Some(record) = records.read(night)? else {
            return Err(CommandError::Usage(format!("no night {night} is recorded on this host")));
        };
        if json {
            out::say(serde_json::to_string_pretty(&record)?);
        } else {
            super::status::show_night(&status::night_report(&settings, record)?, &settings.window.zone);
        }
        return Ok(Exit::Good);
    }
    let mut all = Vec::new();
    for night in records.nights()?.into_iter().rev() {
        all.extend(records.read(night)?);
    }
    if json {
        out::say(serde_json::to_string_pretty(&all)?);
    } else {
        out::table(&["NIGHT", "VERDICT", "SETS", "ARCHIVES", "REASONS"], all.iter().map(row));
    }
    Ok(Exit::Good)
}

fn row(record: &Record) -> Vec<String> {
    let (verdict, reasons) = match &record.closed {
        Some(closed) => (closed.verdict.to_string(), closed.reasons.join("; ")),
        None => ("open".to_owned(), String::new()),
    };
    let held = record.sets.iter().filter(|report| report.fate.is_stored()).count();
    vec![record.night.to_string(), verdict, held.to_string(), record.archives.len().to_string(), reasons]
}
