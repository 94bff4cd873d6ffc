//! `nightshift nights`: lists the recorded nights, shows one in detail, keeps one, or closes an extra night.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use nightshift_core::kept::{KeptNight, KeptNights};
use nightshift_core::night::Night;
use nightshift_core::outcome::Verdict;
use nightshift_core::record::Record;
use nightshift_core::settings::Settings;
use nightshift_engine::control::{ControlRequest, is_running, send};
use nightshift_engine::retention::{self, Stay};
use nightshift_engine::status;
use nightshift_store::records::Records;
use nightshift_store::{StoreError, Vault, kept};
use serde::Serialize;

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
        let (mut night, zone) = (status::night_report(&settings, record), &settings.window.zone);
        night.stopped = night.open && !is_running(&settings.paths.socket());
        let lines = [super::status::night_lines(&night, zone), super::status::details(&night)].concat();
        out::print_text(&lines.join("\n"));
        for reason in &night.unreadable {
            out::print_error(&format!("unreadable: {reason}"));
        }
        return Ok(if night.unreadable.is_empty() { Exit::Good } else { Exit::Degraded });
    }
    let (all, mut exit) = read_all(&records)?;
    let stays = stays(&settings, &all).unwrap_or_else(|error| {
        out::print_error(&format!("until when sets stay is not known: {}", report::in_full(&error)));
        exit = Exit::Degraded;
        Stays::default()
    });
    let listed: Vec<Listed<'_>> = all.iter().map(|record| stays.of(record)).collect();
    if json {
        out::print_json(&listed)?;
    } else {
        let is_running = is_running(&settings.paths.socket());
        out::print_text(&table(&listed, is_running).join("\n"));
    }
    Ok(exit)
}

/// All records that can be read, newest first.
pub fn read_all(records: &Records) -> Result<(Vec<Record>, Exit), CommandError> {
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
    Ok((all, exit))
}

/// Until when what this host has of its nights stays.
#[derive(Default)]
pub struct Stays {
    by_policy: BTreeMap<Night, Stay>,
    kept: KeptNights,
    today: Date,
}

/// A night with what happens to its copies here.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    record: &'a Record,
    /// Until when the policy keeps its sets, as far as they are here.
    #[serde(skip_serializing_if = "Option::is_none")]
    stays: Option<Stay>,
    /// An operator keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<&'a KeptNight>,
}

pub fn stays(settings: &Settings, records: &[Record]) -> Result<Stays, StoreError> {
    let now = Timestamp::now();
    let by_policy = retention::stays(settings, &Vault::of(settings), records, now)?;
    let kept = kept::read(&settings.paths.kept())?;
    Ok(Stays { by_policy, kept, today: retention::today(settings, now) })
}

impl Stays {
    fn of<'a>(&'a self, record: &'a Record) -> Listed<'a> {
        Listed { record, stays: self.by_policy.get(&record.night).copied(), kept: self.kept(record.night) }
    }

    pub fn kept(&self, night: Night) -> Option<&KeptNight> {
        self.kept.of(night, self.today)
    }

    /// Until when the etcd sets of a night stay here, in a word; `None` if there are no sets of it.
    pub fn etcd(&self, night: Night) -> Option<String> {
        let stay = self.by_policy.get(&night)?;
        Some(until(stay.etcd, stay.etcd_not_pruned, self.kept(night)))
    }
}

/// Of the policy and an operator, the one that keeps it longer.
fn until(by_policy: Option<Date>, not_pruned: bool, kept: Option<&KeptNight>) -> String {
    let until = match kept {
        Some(KeptNight { until: None, .. }) => return "kept".to_owned(),
        Some(KeptNight { until: Some(until), .. }) => by_policy.max(Some(*until)),
        None => by_policy,
    };
    // `prune --dry-run` has the reason.
    let dropped = if not_pruned { "not pruned" } else { "pruned next" };
    until.map_or(dropped.to_owned(), |until| until.to_string())
}

/// Keeps a night, or lets the policy decide about it again, through the daemon.
pub async fn keep(config: &Path, night: Night, until: Option<Date>, not: bool) -> Result<Exit, CommandError> {
    let request = if not { ControlRequest::Release { night } } else { ControlRequest::Keep { night, until } };
    Ok(print_response(send(&socket(config), &request).await?))
}

/// Closes the open extra night, through the daemon.
pub async fn close(config: &Path) -> Result<Exit, CommandError> {
    Ok(print_response(send(&socket(config), &ControlRequest::CloseNight).await?))
}

/// A table of the nights. The reasons of a night follow its row.
fn table(nights: &[Listed<'_>], is_running: bool) -> Vec<String> {
    let header = ["NIGHT", "VERDICT", "SETS", "ARCHIVES", "ETCD STAYS", "FILES STAY"];
    let rows = rows_of(&header, nights.iter().map(|night| row(night, is_running)));
    let mut lines = Vec::new();
    // The first line of the table is its header.
    for (row, night) in rows.lines().zip(std::iter::once(None).chain(nights.iter().map(Some))) {
        lines.push(row.to_owned());
        let closed = night.and_then(|night| night.record.closed.as_ref());
        let reasons = closed.map(|closed| closed.reasons.as_slice()).unwrap_or_default();
        lines.extend(reasons.iter().flat_map(|reason| wrapped("  ! ", reason)));
        let label = night.and_then(|night| night.record.backup.as_ref()?.label.as_ref());
        lines.extend(label.map(|label| format!("  backup {label}")));
        let shipped = night.is_some_and(|night| night.record.only_ships());
        lines.extend(shipped.then(|| "  only ships what waits in the outbox".to_owned()));
        let kept = night.and_then(|night| night.kept);
        lines.extend(kept.map(|kept| format!("  kept by {}", kept.by)));
    }
    lines
}

fn row(night: &Listed<'_>, is_running: bool) -> Vec<String> {
    let record = night.record;
    let verdict = match &record.closed {
        // It made no sets, so none are complete.
        Some(closed) if record.only_ships() && closed.verdict == Verdict::Complete => "-".to_owned(),
        Some(closed) => closed.verdict.to_string(),
        None if record.is_settled() => format!("{} so far", status::judgement(record).verdict),
        None if is_running => "running".to_owned(),
        None => "interrupted".to_owned(),
    };
    let stored = record.sets.iter().filter(|report| report.fate.is_stored()).count();
    let stays = |of: fn(Stay) -> (Option<Date>, bool)| {
        let (by_policy, not_pruned) = night.stays.map(of)?;
        Some(until(by_policy, not_pruned, night.kept))
    };
    let etcd = stays(|stay| (stay.etcd, stay.etcd_not_pruned));
    let files = stays(|stay| (stay.files, stay.files_not_pruned));
    vec![
        record.night.to_string(),
        verdict,
        stored.to_string(),
        record.archives.len().to_string(),
        etcd.unwrap_or_default(),
        files.unwrap_or_default(),
    ]
}
