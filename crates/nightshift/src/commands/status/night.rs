//! The text of a night: its state, its stages and its sets.

use jiff::tz::TimeZone;
use nightshift_core::outcome::Verdict;
use nightshift_core::units::{local_time, seconds};
use nightshift_engine::status::NightReport;

use super::sets::{self, archive_details, etcd_details, set_details};
use crate::out::{self, wrapped};

/// The state of a night, such as `complete (closes 2026-11-25 11:00 CET)`.
pub fn state(night: &NightReport, zone: &TimeZone) -> String {
    let word = match (night.open, night.settled, night.verdict) {
        (true, false, _) => "running".to_owned(),
        // Until the night closes, a retry may still get what is missing.
        (true, true, verdict) if verdict != Verdict::Complete => format!("{verdict} so far"),
        (_, _, verdict) => verdict.to_string(),
    };
    if night.open { format!("{word} (closes {})", local_time(night.record.closes, zone)) } else { word }
}

/// The lines of a night in `status`.
pub fn night_lines(night: &NightReport, zone: &TimeZone) -> Vec<String> {
    let mut lines = vec![format!("night {}: {}", night.record.night, state(night, zone))];
    if let Some(label) = night.record.backup.as_ref().and_then(|backup| backup.label.as_ref()) {
        lines.push(format!("backup {label}"));
    }
    // While stages are running, what they have not done yet is not a fault.
    if night.settled {
        lines.extend(night.reasons.iter().flat_map(|reason| wrapped("  ! ", &reason.text)));
    }
    lines.push(String::new());
    lines.extend(stages(night, zone));
    lines.extend(sets::lines(night));
    if let Some(restorable) = &night.record.restorable {
        lines.extend(wrapped("", &format!("restorable: {}", restorable.summary())));
    }
    lines
}

/// What `nights NIGHT` shows besides the lines of `status`.
pub fn details(night: &NightReport) -> Vec<String> {
    let mut lines = set_details(night);
    lines.extend(etcd_details(&night.etcd));
    lines.extend(archive_details(&night.record));
    lines
}

/// A table of the stages. The progress or the reason of a stage follows its row.
fn stages(night: &NightReport, zone: &TimeZone) -> Vec<String> {
    let record = &night.record;
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for stage in &record.planned {
        let Some(state) = record.stages.get(stage) else {
            rows.push(vec![stage.to_string(), "-".into(), "waiting".into(), String::new()]);
            let wait = night.waits.iter().find(|(waiting, _)| waiting == stage);
            notes.push(wait.map(|(_, wait)| format!("starts {wait}")));
            continue;
        };
        let outcome = state.outcome.map_or("running".to_owned(), |outcome| outcome.to_string());
        let took = state.ended.map(|_| seconds(state.duration_ms)).unwrap_or_default();
        rows.push(vec![stage.to_string(), local_time(state.started, zone), outcome, took]);
        let progress = night.progress.iter().find(|(name, _)| *name == stage.to_string());
        notes.push(match progress.filter(|_| state.outcome.is_none()) {
            Some((_, progress)) => Some(format!("progress: {progress}")),
            None => state.reason.clone(),
        });
    }
    let table = out::rows_of(&["STAGE", "STARTED", "OUTCOME", "TOOK"], rows);
    let mut lines = Vec::new();
    // The first line of the table is its header.
    for (row, note) in table.lines().zip(std::iter::once(None).chain(notes)) {
        lines.push(row.to_owned());
        lines.extend(note.iter().flat_map(|note| wrapped("    ", note)));
    }
    lines
}
