//! The blocks of the screen that are not tables: is this cluster safe, what is missing, is there space, what must an operator do.

use jiff::tz::TimeZone;
use nightshift_core::outcome::Verdict;
use nightshift_core::proof::DrillVerdict;
use nightshift_core::status::Space;
use nightshift_core::units::{age, bytes, local_time};
use nightshift_engine::status::{NightReport, Report};

use super::{night, summary};
use crate::out::wrapped;

/// The verdict, the last restorable night with its age and its proof, and the newest night.
pub fn safe(report: &Report, zone: &TimeZone) -> Vec<String> {
    let daemon =
        report.daemon.as_ref().map_or("daemon not running".to_owned(), |version| format!("daemon {version}"));
    let head = format!("{} ({}) of cluster {}, {daemon}", report.host, report.roles, report.cluster);
    let mut lines = wrapped("", &head);
    lines.extend(wrapped("", &summary::verdict(report)));
    lines.extend(last_restorable(report, zone));
    if let Some(complete) = report.last_complete.filter(|night| Some(*night) != report.last_restorable) {
        lines.push(format!("last complete night: {complete}"));
    }
    if let (Some(verdict), Some(night)) = (report.before, report.before_night)
        && verdict != Verdict::Complete
    {
        lines.push(format!("previous night: {verdict} (details: nightshift nights {night})"));
    }
    match &report.night {
        Some(night) => lines.push(format!("night {}: {}", night.record.night, night::state(night, zone))),
        None => lines.push("no night is recorded yet".to_owned()),
    }
    let restorable = report.night.as_ref().and_then(|night| night.record.restorable.as_ref());
    lines.extend(restorable.iter().flat_map(|plan| match plan.is_restorable() {
        true => wrapped("", &format!("restorable: {}", plan.summary())),
        false => vec!["restorable: no (the reason is among the warnings)".to_owned()],
    }));
    lines.push(format!("next night opens {}", local_time(report.opens, zone)));
    lines
}

fn last_restorable(report: &Report, zone: &TimeZone) -> Vec<String> {
    let Some(night) = report.last_restorable else {
        return vec!["last restorable night: none has closed yet".to_owned()];
    };
    let degraded = if Some(night) > report.last_complete { " (degraded)" } else { "" };
    let Some(known) = &report.restorable else {
        return vec![format!("last restorable night: {night}{degraded}")];
    };
    let old = age(report.at.duration_since(known.opened).as_secs());
    let proof = match &known.drill {
        Some(drill) => {
            let at = local_time(drill.at, zone);
            let word =
                if drill.verdict == DrillVerdict::Proved { "proved" } else { "DOES NOT RESTORE, found" };
            format!("{word} by {}, {at}, with the etcd set of {}", drill.by, drill.set.host)
        }
        None if known.etcd_sets == 0 => {
            "proof: unchecked, because this host has no etcd set of it; see the status of a master".to_owned()
        }
        None => "proof: unchecked, because this host has no result of a drill of its etcd sets".to_owned(),
    };
    let mut lines = vec![format!("last restorable night: {night}{degraded}, {old} old")];
    lines.extend(wrapped("  ", &proof));
    lines
}

/// What the newest night lacks. While stages run, what they have not done yet is not a fault.
pub fn missing(report: &Report) -> Vec<String> {
    let Some(night) = &report.night else {
        return vec!["missing: unchecked, before the first night".to_owned()];
    };
    if !night.settled {
        return vec!["missing: unchecked until the stages end".to_owned()];
    }
    if night.reasons.is_empty() && night.tolerated.is_empty() && night.gone.is_empty() {
        return vec!["missing: nothing".to_owned()];
    }
    std::iter::once("missing:".to_owned()).chain(night::reasons(night)).chain(night::gone(night)).collect()
}

pub fn space(report: &Report) -> Vec<String> {
    let Some(Space { total, free }) = report.vault else {
        return vec!["space: unchecked, because the file system of the vault cannot be read".to_owned()];
    };
    let percent = u128::from(free) * 100 / u128::from(total.max(1));
    vec![format!("space: {} of {} free in the vault ({percent} %)", bytes(free), bytes(total))]
}

/// What an operator has to decide or repair.
pub fn waits(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(held) = &report.held {
        lines.extend(wrapped("", &format!("HELD: {held}")));
    }
    for warning in &report.warnings {
        lines.extend(wrapped("! ", &warning.text));
    }
    for review in reviews(report) {
        lines.extend(wrapped("! ", &review));
    }
    for note in &report.notes {
        lines.extend(wrapped("note: ", note));
    }
    if lines.is_empty() {
        return vec!["waits for you: nothing".to_owned()];
    }
    std::iter::once("waits for you:".to_owned()).chain(lines).collect()
}

/// The sets that are copies only if an operator accepts them: those of the newest night, and the older ones that retention waits for.
fn reviews(report: &Report) -> Vec<String> {
    let newest = report.night.as_ref().map(NightReport::awaiting_acceptance).unwrap_or_default();
    let older = report.awaiting.iter().filter(|set| !newest.contains(set)).map(|set| {
        let held = format!(", and no set of {} is pruned until then", set.host);
        (set, held)
    });
    let sets = newest.iter().map(|set| (*set, String::new())).chain(older);
    sets.map(|(set, held)| {
        format!("{set} needs a review{held}; if it is right: nightshift sets accept {set}")
    })
    .collect()
}
