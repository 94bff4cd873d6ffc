//! The text of a night: its state, its stages and its sets.

use jiff::tz::TimeZone;
use nightshift_core::outcome::{Outcome, Verdict};
use nightshift_core::stage::Stage;
use nightshift_core::units::{age, local_time, seconds};
use nightshift_engine::status::{NightReport, Report};

use super::sets::{self, archive_details, etcd_details, set_details};
use crate::out::{self, wrapped};

/// The state of a night, such as `complete (closes 2026-11-25 11:00 CET)`.
pub fn state(night: &NightReport, zone: &TimeZone) -> String {
    let word = match (night.open, night.settled, night.verdict) {
        (true, false, _) if night.stopped => "interrupted".to_owned(),
        (true, false, _) => "running".to_owned(),
        // Until the night closes, a retry may still get what is missing.
        (true, true, verdict) if verdict != Verdict::Complete => format!("{verdict} so far"),
        (_, _, verdict) => verdict.to_string(),
    };
    if night.open { format!("{word} (closes {})", local_time(night.record.closes, zone)) } else { word }
}

/// The lines of a night in `nights NIGHT`.
pub fn night_lines(night: &NightReport, zone: &TimeZone) -> Vec<String> {
    let mut lines = vec![format!("night {}: {}", night.record.night, state(night, zone))];
    if let Some(label) = night.record.backup.as_ref().and_then(|backup| backup.label.as_ref()) {
        lines.push(format!("backup {label}"));
    }
    // While stages are running, what they have not done yet is not a fault.
    if night.settled {
        lines.extend(reasons(night));
    }
    lines.push(String::new());
    lines.extend(stages(night, zone));
    lines.extend(sets::lines(night));
    if let Some(restorable) = &night.record.restorable {
        lines.extend(wrapped("", &format!("restorable: {}", restorable.summary())));
    }
    lines
}

/// What is wrong, and which missing nodes are tolerated.
pub fn reasons(night: &NightReport) -> Vec<String> {
    let wrong = night.reasons.iter().flat_map(|reason| wrapped("  ! ", &reason.text));
    wrong.chain(night.tolerated.iter().flat_map(|reason| wrapped("  - ", &reason.text))).collect()
}

/// The stored sets that are not in the vault any more.
pub fn gone(night: &NightReport) -> Vec<String> {
    night
        .gone
        .iter()
        .flat_map(|set| wrapped("  ! ", &format!("{set} is not in the vault, or unreadable")))
        .collect()
}

/// What `nights NIGHT` shows besides the tables.
pub fn details(night: &NightReport) -> Vec<String> {
    let mut lines = set_details(night);
    lines.extend(etcd_details(&night.etcd));
    lines.extend(archive_details(&night.record));
    lines
}

/// What runs now: of each running stage how much is done, at which rate, and how long the rest takes at that rate.
pub fn running(report: &Report) -> Vec<String> {
    let none = "now: no stage is running".to_owned();
    let Some(night) = &report.night else { return vec![none] };
    if night.stopped {
        return vec!["now: no stage is running, because the daemon does not run".to_owned()];
    }
    let stages = &night.record.stages;
    let is_running = |stage: &&Stage| stages.get(*stage).is_some_and(|state| state.outcome.is_none());
    let mut lines = Vec::new();
    for stage in night.record.planned.iter().filter(is_running).filter(|_| night.open) {
        let elapsed = stages.get(stage).map_or(0, |state| report.at.duration_since(state.started).as_secs());
        let pace = progress(night, *stage).map(|(done, total)| pace(*stage, done, total, elapsed));
        let since = format!("for {}", age(elapsed));
        lines.extend(wrapped("now: ", &format!("{stage}{}, {since}", pace.unwrap_or_default())));
    }
    if lines.is_empty() {
        lines.push(none);
    }
    let waiting = night.waits.iter().find(|(stage, _)| !stages.contains_key(stage));
    lines.extend(
        waiting.iter().flat_map(|(stage, wait)| wrapped("then: ", &format!("{stage} starts {wait}"))),
    );
    lines
}

/// A rate and a time only where each of the things takes about as long: a host's set, not a step of a drill.
fn pace(stage: Stage, done: u64, total: u64, elapsed: i64) -> String {
    let counted = format!(", {done} of {total}");
    let Ok(elapsed @ 1..) = u64::try_from(elapsed) else { return counted };
    if done == 0 || stage.pulls().is_none() {
        return counted;
    }
    let left = i64::try_from(total.saturating_sub(done).saturating_mul(elapsed) / done).unwrap_or(i64::MAX);
    let tenths = done.saturating_mul(600) / elapsed;
    format!("{counted}, {}.{} per minute, about {} left", tenths / 10, tenths % 10, age(left))
}

fn progress(night: &NightReport, stage: Stage) -> Option<(u64, u64)> {
    let (_, text) = night.progress.iter().find(|(name, _)| name == stage.as_str())?;
    let (done, total) = text.split_once('/')?;
    Some((done.parse().ok()?, total.parse().ok()?))
}

/// A table of the stages. The progress or the reason of a stage follows its row.
pub fn stages(night: &NightReport, zone: &TimeZone) -> Vec<String> {
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
        let now = if night.stopped { Outcome::Interrupted.as_str() } else { "running" };
        let outcome = state.outcome.map_or(now, |outcome| outcome.as_str()).to_owned();
        let took = state.ended.map(|_| seconds(state.duration_ms)).unwrap_or_default();
        rows.push(vec![stage.to_string(), local_time(state.started, zone), outcome, took]);
        let progress = progress(night, *stage).filter(|_| state.outcome.is_none());
        notes.push(match progress {
            Some((done, total)) => Some(format!("progress: {done}/{total}")),
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
