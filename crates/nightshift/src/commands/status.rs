//! `nightshift status`: how it stands, told by the daemon, or from the records when it is down.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nightshift_core::night::Night;
use nightshift_core::outcome::{Grade, Verdict};
use nightshift_core::record::{Expected, Fate, Record};
use nightshift_core::units::bytes;
use nightshift_engine::control::{Answer, ClientError, Request, ask};
use nightshift_engine::status::{self, EtcdState, NightReport, Report};

use super::CommandError;
use crate::config_file;
use crate::exit::Exit;
use crate::out;

pub async fn run(config: &Path, json: bool) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let report = match ask(&settings.paths.socket(), &Request::Status).await {
        Ok(Answer::Status(report)) => *report,
        Ok(other) => return Ok(super::run::tell(other)),
        // One that dies while it is asked is as good as away.
        Err(ClientError::Away { .. } | ClientError::BrokenOff(_)) => {
            status::report(&settings, Timestamp::now())?
        }
        Err(error) => return Err(error.into()),
    };
    if json {
        out::say(serde_json::to_string_pretty(&report)?);
    } else {
        show(&report, &settings.window.zone);
    }
    Ok(if report.needs_attention() { Exit::Degraded } else { Exit::Good })
}

fn show(report: &Report, zone: &TimeZone) {
    let daemon =
        report.daemon.as_ref().map_or("daemon down".to_owned(), |version| format!("daemon {version}"));
    out::say(format!("{} ({}) of cluster {}, {daemon}", report.host, report.roles, report.cluster));
    match &report.night {
        Some(night) => show_night(night, zone),
        None => out::say("no night has been recorded yet"),
    }
    out::say("");
    if let Some(before) = report.before.filter(|before| *before != Verdict::Complete) {
        out::say(format!("the night before was {before}: nightshift nights tells why"));
    }
    out::say(format!(
        "last good night: {}",
        report.last_good.map_or("none".to_owned(), |night: Night| night.to_string())
    ));
    if let Some(stale) = &report.stale {
        out::say(format!("STALE: {stale}"));
    }
    out::say(format!("next night opens {}", time(report.opens, zone)));
}

pub fn show_night(night: &NightReport, zone: &TimeZone) {
    let record = &night.record;
    let state = match (night.open, night.settled) {
        (true, false) => "in progress".to_owned(),
        (true, true) => format!("{} so far, open until {}", night.verdict, time(record.closes, zone)),
        (false, _) => night.verdict.to_string(),
    };
    out::say(format!("night {}: {state}", record.night));
    // What is still to come is not amiss yet.
    if night.settled {
        for reason in &night.reasons {
            out::say(format!("  ! {reason}"));
        }
    }
    out::say("");
    show_stages(night, zone);
    out::say("");
    show_sets(record, night.settled);
    show_etcd(&night.etcd);
    show_archives(record);
}

fn show_stages(night: &NightReport, zone: &TimeZone) {
    let record = &night.record;
    let rows = record.planned.iter().map(|stage| {
        let Some(state) = record.stages.get(stage) else {
            return vec![stage.to_string(), "-".into(), "waiting".into(), String::new(), String::new()];
        };
        let progress = night.progress.iter().find(|(name, _)| *name == stage.to_string());
        let outcome = match (state.outcome, progress) {
            (Some(outcome), _) => outcome.to_string(),
            (None, Some((_, progress))) => format!("running {progress}"),
            (None, None) => "running".to_owned(),
        };
        let took =
            state.ended.map(|_| format!("{}.{} s", state.duration_ms / 1000, state.duration_ms % 1000 / 100));
        let reason = state.reason.clone().unwrap_or_default();
        let started = state.started.to_zoned(zone.clone()).strftime("%T").to_string();
        vec![stage.to_string(), started, outcome, took.unwrap_or_default(), reason]
    });
    out::table(&["STAGE", "STARTED", "OUTCOME", "TOOK", "REASON"], rows);
}

fn show_sets(record: &Record, settled: bool) {
    let rows = record.expected.iter().map(|expected| {
        let Expected { host, role, .. } = expected;
        match record.best_set(host, *role) {
            Some(held) => {
                let grade = held.grade.as_ref().map_or("?", |grade: &Grade| grade.as_str());
                let how = match (held.fate, &held.from) {
                    (Fate::Published, _) => "made here".to_owned(),
                    (Fate::Late, _) => "late".to_owned(),
                    (_, Some(from)) => format!("by way of {from}"),
                    _ => "pulled".to_owned(),
                };
                vec![host.to_string(), role.to_string(), grade.to_owned(), bytes(held.bytes), how]
            }
            None => {
                let reason = record.reason_for(host, *role);
                let word = match reason.is_some() || settled {
                    _ if expected.new => "new",
                    true if record.is_not_needed(expected) => "left",
                    true => "missing",
                    false => "awaited",
                };
                let how = reason.unwrap_or(if word == "left" { "another member's will do" } else { "" });
                vec![host.to_string(), role.to_string(), word.to_owned(), String::new(), how.to_owned()]
            }
        }
    });
    out::table(&["HOST", "ROLE", "SET", "SIZE", "HOW"], rows);
}

/// A snapshot that nobody has restored is a hope.
fn show_etcd(etcd: &[EtcdState]) {
    if etcd.is_empty() {
        return;
    }
    out::say("");
    let rows = etcd.iter().map(|state| {
        vec![
            state.set.host.to_string(),
            state.verified.clone(),
            state.agreed.clone().unwrap_or_else(|| "-".to_owned()),
            state.copies(),
            state.proved(),
        ]
    });
    out::table(&["ETCD", "VERIFIED", "AGREED", "COPIES", "PROVED"], rows);
}

fn show_archives(record: &Record) {
    if record.archives.is_empty() {
        return;
    }
    out::say("");
    let rows = record.archives.iter().map(|packed| {
        let remotes: Vec<String> = record
            .shipped
            .iter()
            .filter(|shipment| shipment.archive == packed.archive)
            .map(|shipment| match (&shipment.verified, &shipment.reason) {
                (Some(verified), _) => format!("{}: {verified}", shipment.remote),
                (None, reason) => {
                    format!("{}: NOT there: {}", shipment.remote, reason.as_deref().unwrap_or("?"))
                }
            })
            .collect();
        let sealed = if packed.encrypted { "encrypted" } else { "plain" };
        vec![
            packed.archive.clone(),
            bytes(packed.bytes),
            format!("{} sets, {sealed}", packed.sets),
            remotes.join("; "),
        ]
    });
    out::table(&["ARCHIVE", "SIZE", "HOLDS", "REMOTES"], rows);
}

fn time(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%F %R").to_string()
}
