//! The sets, etcd sets and archives of a night: tables with one word a column, and the details.

use nightshift_core::name::RemoteName;
use nightshift_core::outcome::Grade;
use nightshift_core::record::{Expected, Fate, Packed, Recheck, Rechecked, Record};
use nightshift_core::role::Role;
use nightshift_core::secrets::SecretsReport;
use nightshift_core::set_path::SetId;
use nightshift_core::units::{bytes, count};
use nightshift_engine::status::{EtcdState, NightReport, Report};

use crate::out::{WIDTH, rows_of, wrapped};

/// The tables of a night in `status`.
pub fn lines(night: &NightReport) -> Vec<String> {
    let record = &night.record;
    let sets = shown(record).iter().map(|expected| set_row(night, expected)).collect();
    let etcd = night.etcd.iter().map(etcd_row).collect();
    let archives = record.archives.iter().map(|packed| {
        let shipped = record.shipped.iter().filter(|shipment| shipment.archive == packed.archive);
        let verified = shipped.filter(|shipment| shipment.verified.is_some()).count();
        let remotes = format!("{verified} of {}", record.remotes.len());
        vec![packed.archive.clone(), bytes(packed.bytes), packed.sets.to_string(), remotes]
    });
    let mut lines = table(&["HOST", "ROLE", "SET", "SIZE", "HOW"], sets);
    lines.extend(table(&["ETCD", "VERIFIED", "AGREED", "COPIES", "PROVED"], etcd));
    lines.extend(table(&["ARCHIVE", "SIZE", "SETS", "REMOTES"], archives.collect()));
    lines
}

/// The tables of a night as one line each: for a small terminal.
pub fn counted(report: &Report) -> Vec<String> {
    let Some(night) = &report.night else { return Vec::new() };
    let record = &night.record;
    let expected =
        |role| record.expected.iter().filter(move |it| it.role == role && !record.is_not_needed(it));
    let has_copy = |it: &&Expected| {
        let stored = record.best_set(&it.host, it.role).filter(|stored| !night.gone.contains(&stored.set));
        stored.and_then(|stored| stored.grade).is_some_and(Grade::is_copy)
    };
    let of_role = |role| {
        let (stored, all) = (expected(role).filter(has_copy).count(), expected(role).count());
        (all > 0).then(|| format!("{role} {stored} of {all}"))
    };
    let roles: Vec<String> = Role::ALL.into_iter().filter_map(of_role).collect();
    let mut lines = Vec::new();
    if !roles.is_empty() {
        lines.extend(wrapped("copies: ", &format!("sets: {}", roles.join(", "))));
    }
    if !night.etcd.is_empty() {
        let are = |word: &str, of: fn(&EtcdState) -> &str| {
            format!("{} {word}", night.etcd.iter().filter(|state| of(state) == word).count())
        };
        let agreed = |state: &EtcdState| state.agreement.as_deref() == Some("agreed");
        let least = night.etcd.iter().min_by_key(|state| state.masters.len() + state.remotes.len());
        let text = format!(
            "{}: {}, {} agreed, {}; on {}",
            count(night.etcd.len(), "etcd set"),
            are("verified", EtcdState::verified_word),
            night.etcd.iter().filter(|state| agreed(state)).count(),
            are("proved", EtcdState::proved_word),
            least.map(EtcdState::copies).unwrap_or_default()
        );
        lines.extend(wrapped("copies: ", &text));
    }
    for remote in &report.remotes {
        let waiting = count(usize::try_from(remote.waiting).unwrap_or(usize::MAX), "archive");
        let shipped = record.archives.iter().filter(|packed| is_on(record, packed, &remote.name)).count();
        let text = format!(
            "remote {}: {shipped} of {} archives of this night, {waiting} waiting",
            remote.name,
            record.archives.len()
        );
        lines.extend(wrapped("copies: ", &text));
    }
    lines
}

fn is_on(record: &Record, packed: &Packed, remote: &RemoteName) -> bool {
    record.verified_on(remote).any(|shipment| shipment.archive == packed.archive)
}

/// The expected sets, and those that were stored although none was expected: a pull in an extra night.
fn shown(record: &Record) -> Vec<Expected> {
    let mut shown = record.expected.clone();
    for report in record.sets.iter().filter(|report| report.fate.is_stored()) {
        let SetId { host, role, .. } = &report.set;
        if !shown.iter().any(|expected| expected.host == *host && expected.role == *role) {
            shown.push(Expected { host: host.clone(), role: *role, new: false, any: false, last_good: None });
        }
    }
    shown
}

/// An empty line and a table, whose first column is shortened if the table would be too wide.
fn table(header: &[&str], mut rows: Vec<Vec<String>>) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let width = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let mut text = rows_of(header, rows.clone());
    let too_wide = width(&text).saturating_sub(WIDTH);
    if too_wide > 0 {
        let first = rows.iter().map(|row| row[0].chars().count()).max().unwrap_or(0);
        let max = first.saturating_sub(too_wide).max(header[0].len());
        rows.iter_mut().for_each(|row| row[0] = elided(&row[0], max));
        text = rows_of(header, rows);
    }
    std::iter::once(String::new()).chain(text.lines().map(str::to_owned)).collect()
}

/// A name with at most `max` characters: the start is the longer part, because it usually has the host's own name.
fn elided(name: &str, max: usize) -> String {
    let length = name.chars().count();
    if length <= max {
        return name.to_owned();
    }
    let end = max.saturating_sub(1) / 3;
    let start = max.saturating_sub(1 + end);
    let head: String = name.chars().take(start).collect();
    let tail: String = name.chars().skip(length - end).collect();
    format!("{head}…{tail}")
}

fn set_row(night: &NightReport, expected: &Expected) -> Vec<String> {
    let (record, settled) = (&night.record, night.settled);
    let Expected { host, role, .. } = expected;
    let (word, size, how) = match record.best_set(host, *role) {
        Some(stored) if night.gone.contains(&stored.set) => ("missing", "-".to_owned(), "-"),
        Some(stored) => {
            let grade = stored.grade.as_ref().map_or("unchecked", |grade: &Grade| grade.as_str());
            let how = match (stored.fate, &stored.from) {
                (Fate::Published, _) => "own",
                (Fate::Late, _) => "late",
                (_, Some(_)) => "mirrored",
                _ => "pulled",
            };
            (grade, bytes(stored.bytes), how)
        }
        None => {
            let expected_later = !settled && record.reason_for(host, *role).is_none();
            let word = match expected_later {
                _ if expected.new => "new",
                _ if record.is_not_needed(expected) => "skipped",
                true => "waiting",
                false => "missing",
            };
            (word, "-".to_owned(), "-")
        }
    };
    vec![host.to_string(), role.to_string(), word.to_owned(), size, how.to_owned()]
}

fn etcd_row(state: &EtcdState) -> Vec<String> {
    vec![
        state.set.host.to_string(),
        state.verified_word().to_owned(),
        state.agreement.clone().unwrap_or_else(|| "unknown".to_owned()),
        state.copies(),
        state.proved_word().to_owned(),
    ]
}

/// Why a set is absent or not good, and from which master it was mirrored.
pub fn set_details(night: &NightReport) -> Vec<String> {
    let record = &night.record;
    let details = record.expected.iter().filter_map(|expected| {
        let Expected { host, role, .. } = expected;
        let detail = match record.best_set(host, *role) {
            Some(stored) => {
                let from = stored.from.as_ref().map(|from| format!("mirrored from {from}"));
                let parts: Vec<String> = from.into_iter().chain(stored.reason.clone()).collect();
                (!parts.is_empty()).then(|| parts.join("; "))
            }
            None if record.is_not_needed(expected) => {
                Some("not needed, because the set of one member is enough (`members = \"one\"`)".to_owned())
            }
            None => record.reason_for(host, *role).map(str::to_owned),
        };
        detail.map(|detail| format!("{host} {role}: {detail}"))
    });
    section("sets", details)
}

/// The checks, the comparison, the copies and the drills of each etcd set.
pub fn etcd_details(etcd: &[EtcdState]) -> Vec<String> {
    let names = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let mut lines = Vec::new();
    for state in etcd {
        lines.extend([String::new(), format!("etcd set {}:", state.set)]);
        let mut line = |text: String| lines.extend(wrapped("  ", &text));
        line(match state.verified.as_str() {
            "" => "verified: unchecked on this host; run `nightshift verify` for its set".to_owned(),
            verified => verified.to_owned(),
        });
        line(format!("agreement: {}", state.agreed.as_deref().unwrap_or("unknown, no member compared them")));
        if state.without_masters && state.remotes.is_empty() {
            line("copies: only on this host, because the inventory has no master".to_owned());
        } else if state.masters.is_empty() && state.remotes.is_empty() {
            line("copies: unknown on this host; run `nightshift status` on a master".to_owned());
        } else {
            line(format!(
                "on masters, with the same manifest: {}",
                names(state.masters.iter().map(ToString::to_string).collect())
            ));
            line(format!("on remotes: {}", names(state.remotes.iter().map(ToString::to_string).collect())));
        }
        let drills = state.drill_lines();
        if drills.is_empty() {
            line("drill: none".to_owned());
        }
        drills.into_iter().for_each(|drill| line(format!("drill: {drill}")));
        if let Some(secrets) = state.secrets.as_ref().and_then(SecretsReport::summary) {
            line(format!("encrypted values: {secrets}"));
        }
    }
    lines
}

/// The archives, and for each remote how it was verified there or why it is missing.
pub fn archive_details(record: &Record) -> Vec<String> {
    let mut lines = Vec::new();
    for packed in &record.archives {
        let encrypted = if packed.encrypted { "encrypted" } else { "not encrypted" };
        let (size, sets) = (bytes(packed.bytes), count(packed.sets, "set"));
        lines.extend([String::new(), format!("archive {}:", packed.archive)]);
        lines.push(format!("  {size}, {sets}, {encrypted}"));
        lines.extend(
            packed.missing.iter().flat_map(|missing| wrapped("  ", &format!("not in it: {missing}"))),
        );
        for shipment in record.shipped.iter().filter(|shipment| shipment.archive == packed.archive) {
            let state = match (&shipment.verified, &shipment.reason) {
                (Some(verified), _) => {
                    let name =
                        shipment.stored_as.as_ref().map(|name| format!("as {name}, ")).unwrap_or_default();
                    format!("{name}verified ({verified})")
                }
                (None, Some(reason)) => format!("missing: {reason}"),
                (None, None) => "missing".to_owned(),
            };
            lines.extend(wrapped("  ", &format!("remote {}: {state}", shipment.remote)));
        }
    }
    let rechecked = record.rechecked.iter().map(|Recheck { archive, remote, result }| {
        let result = match result {
            Rechecked::Verified(how) => format!("verified ({how})"),
            Rechecked::Wrong(reason) => format!("BAD: {reason}"),
            Rechecked::Unchecked(reason) => format!("unchecked: {reason}"),
        };
        format!("{archive} on remote {remote}: {result}")
    });
    lines.extend(section("verified again", rechecked));
    let kits = record.kits.iter().map(|kit| {
        let state =
            kit.verified.as_ref().map_or("missing".to_owned(), |verified| format!("verified ({verified})"));
        let reason = kit.reason.as_ref().map(|reason| format!("; {reason}"));
        format!("{} on remote {}: {state}{}", kit.name_there(), kit.remote, reason.unwrap_or_default())
    });
    lines.extend(section("kit", kits));
    lines
}

fn section(title: &str, items: impl Iterator<Item = String>) -> Vec<String> {
    let items: Vec<String> = items.flat_map(|item| wrapped("  ", &item)).collect();
    if items.is_empty() {
        return items;
    }
    [String::new(), format!("{title}:")].into_iter().chain(items).collect()
}
