//! The status in one line: for the banner of a login, and for monitoring.

use nightshift_core::outcome::Verdict;
use nightshift_core::reason::{Reason, ReasonCode};
use nightshift_core::summary::missing_sets;
use nightshift_core::units::count;
use nightshift_engine::status::Report;

use crate::exit::PluginState;

/// How many problems a plugin prints: monitoring reads 4 KiB of its output.
const MAX_PROBLEMS: usize = 10;

/// The warnings that make the state critical.
const WORST: [ReasonCode; 3] =
    [ReasonCode::DaemonDown, ReasonCode::DaemonSilent, ReasonCode::RecordUnwritten];

/// For the banner of a login.
pub fn line(report: &Report) -> String {
    let problems = problems(report);
    let more = if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
    match problems.first() {
        None => format!("nightshift on {}: {}", report.host, nights(report)),
        Some(first) => format!(
            "nightshift on {}: {}: {first}{more}; run: nightshift status",
            report.host,
            word(state(report))
        ),
    }
}

/// The first line of the screen: the state with the worst reason. The blocks below have the others.
pub fn verdict(report: &Report) -> String {
    let failed = |verdict| if verdict == Verdict::Failed { "failed" } else { "is degraded" };
    let newest = report.night.as_ref().filter(|night| night.settled && night.verdict != Verdict::Complete);
    let before = report.finished_before().filter(|verdict| *verdict != Verdict::Complete);
    let text = if let Some(stale) = &report.stale {
        format!("stale: {stale}")
    } else if report.daemon.is_none() {
        "the daemon does not run".to_owned()
    } else if !report.is_answered() {
        "the daemon does not respond".to_owned()
    } else if is_unrecorded(report) {
        "the open night cannot be recorded, so none of its stages runs".to_owned()
    } else if let Some(night) = newest {
        format!("night {} {}", night.record.night, failed(night.verdict))
    } else if let Some(before) = before {
        format!("the previous night {}", failed(before))
    } else if report.held.is_some() {
        "no night opens".to_owned()
    } else if !report.warnings.is_empty() {
        count(report.warnings.len(), "warning")
    } else if report.last_restorable.is_none() {
        "nothing needs attention, but no restorable night has closed yet".to_owned()
    } else {
        "nothing needs attention".to_owned()
    };
    format!("{}: {text}", word(state(report)))
}

/// The state, and the output of a monitoring plugin: a line with performance data, then one line for each problem.
pub fn plugin(report: &Report) -> (PluginState, String) {
    let (state, problems) = (state(report), problems(report));
    let text = problems.first().map_or_else(|| nights(report), Clone::clone);
    let mut lines =
        vec![format!("{} | {}", plain(&format!("NIGHTSHIFT {} - {text}", word(state))), data(report))];
    lines.extend(problems.iter().skip(1).take(MAX_PROBLEMS).map(|problem| plain(problem)));
    (state, lines.join("\n"))
}

/// Without a report.
pub fn critical(reason: &str) -> (PluginState, String) {
    (PluginState::Critical, plain(&format!("NIGHTSHIFT CRITICAL - {reason}")))
}

pub fn unknown(reason: &str) -> (PluginState, String) {
    (PluginState::Unknown, plain(&format!("NIGHTSHIFT UNKNOWN - {reason}")))
}

/// One line without the sign that begins performance data.
fn plain(text: &str) -> String {
    text.replace('\n', " ").replace('|', "/")
}

const fn word(state: PluginState) -> &'static str {
    match state {
        PluginState::Ok => "OK",
        PluginState::Warning => "WARNING",
        PluginState::Critical => "CRITICAL",
        PluginState::Unknown => "UNKNOWN",
    }
}

/// Critical is what a restore would suffer from: no newer restorable night, a failed one, an open one of which no stage runs, or no
/// daemon that makes the next.
fn state(report: &Report) -> PluginState {
    let has_failed = report.worst_verdict() == Some(Verdict::Failed);
    if report.stale.is_some() || !report.is_answered() || has_failed || is_unrecorded(report) {
        PluginState::Critical
    } else if report.needs_attention() {
        PluginState::Warning
    } else {
        PluginState::Ok
    }
}

fn is_unrecorded(report: &Report) -> bool {
    report.warnings.iter().any(|warning| warning.code == ReasonCode::RecordUnwritten)
}

/// Everything that an operator should look at, the worst first.
fn problems(report: &Report) -> Vec<String> {
    let stale = report.stale.iter().cloned();
    let (worst, warnings): (Vec<_>, Vec<_>) =
        report.warnings.iter().partition(|warning| WORST.contains(&warning.code));
    let texts = |warnings: Vec<&Reason>| warnings.into_iter().map(ToString::to_string).collect::<Vec<_>>();
    let settled = report.night.iter().filter(|night| night.settled && night.verdict != Verdict::Complete);
    let reasons = settled.flat_map(|night| {
        let of = format!("night {} {}", night.record.night, night.verdict);
        night.reasons.iter().map(move |reason| format!("{of}: {reason}"))
    });
    let before = report.finished_before().filter(|verdict| *verdict != Verdict::Complete);
    let before = before.map(|verdict| format!("the previous night is {verdict}"));
    let held = report.held.iter().cloned();
    let worst = stale.chain(texts(worst)).chain(held);
    worst.chain(reasons).chain(before).chain(texts(warnings)).collect()
}

fn nights(report: &Report) -> String {
    let restorable = report.last_restorable.map_or("none yet".to_owned(), |night| night.to_string());
    let newest = report.night.as_ref().map(|night| {
        let state = match (night.settled, night.stopped) {
            (true, _) => night.verdict.as_str(),
            (false, true) => "interrupted",
            (false, false) => "running",
        };
        format!("night {} {state}, ", night.record.night)
    });
    format!("{}last restorable night: {restorable}", newest.unwrap_or_default())
}

/// Performance data: the age of the last restorable night, how many sets are missing, and how many warnings there are. What is unknown
/// is left out: 0 would say that no set is missing, although nothing was recorded, or the stages run.
fn data(report: &Report) -> String {
    let age = report.restorable.as_ref().map(|known| report.at.duration_since(known.opened).as_secs());
    let age = age.map(|age| format!("restorable_age={}s;;;0", age.max(0)));
    let night = report.night.as_ref().filter(|night| night.settled);
    let missing = night.map(|night| missing_sets(&night.record, &night.gone).values().sum::<u32>());
    let missing = missing.map(|missing| format!("sets_missing={missing};;;0"));
    let warnings = format!("warnings={};;;0", report.warnings.len());
    age.into_iter().chain(missing).chain([warnings]).collect::<Vec<_>>().join(" ")
}
