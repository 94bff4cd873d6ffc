//! What has changed since the last look, as notices. The same change always has the same id: a crash between a notice and what is
//! known of it makes the same notice again.

use std::collections::BTreeMap;

use super::conditions::{Condition, conditions};
use super::known::{ConditionSeen, Known, NightSeen, Observed, key};
use super::night::{opened, settled};
use super::{Notice, Severity, Topic};

/// More changes of one kind at once are one notice: a lost known_hosts is not a thousand mails.
const MAX_OF_ONE_TOPIC: usize = 10;
/// More are several notices: each is sent to its unit in one message of 64 KiB, and a subject may have 260 bytes.
const MAX_MERGED: usize = 200;

/// The notices, and what is known when they are in the queue. `known` is `None` the first time: nights before are not reported.
pub fn changes(known: Option<&Known>, observed: &Observed<'_>) -> (Known, Vec<Notice>) {
    let first = known.is_none();
    let mut known = known.cloned().unwrap_or_default();
    known.format = super::FORMAT;
    let mut notices = of_nights(&mut known, observed, first);
    notices.extend(grouped(&mut known, observed));
    (known, notices)
}

fn of_nights(known: &mut Known, observed: &Observed<'_>, first: bool) -> Vec<Notice> {
    let mut notices = Vec::new();
    let newest_known = known.nights.keys().next_back().copied();
    let mut before = std::mem::take(&mut known.nights);
    for (record, judged) in observed.nights {
        let night = record.night;
        let is_new = newest_known.is_none_or(|newest| night > newest);
        let is_last = observed.nights.last().is_some_and(|(last, _)| last.night == night);
        let mut seen = before.remove(&night).unwrap_or_else(|| {
            // The first time, only a night that still runs is news.
            if is_new && (!first || is_last && judged.is_none()) {
                notices.push(opened(observed, night));
                return NightSeen::default();
            }
            NightSeen { verdict: judged.as_ref().map(|judged| judged.verdict), changes: 0 }
        });
        if let Some(judged) = judged.as_ref().filter(|judged| seen.verdict != Some(judged.verdict)) {
            let last = if night.is_extra() { None } else { known.last };
            notices.push(settled(observed, night, judged, seen.verdict.or(last), seen.changes));
            seen = NightSeen { verdict: Some(judged.verdict), changes: seen.changes + 1 };
        }
        if !night.is_extra() {
            known.last = seen.verdict.or(known.last);
        }
        known.nights.insert(night, seen);
    }
    notices
}

/// The notices of the conditions that came or went.
fn grouped(known: &mut Known, observed: &Observed<'_>) -> Vec<Notice> {
    let mut by_topic: BTreeMap<(Topic, bool), Vec<Notice>> = BTreeMap::new();
    for condition in conditions(known, observed) {
        let subject = condition.subject.as_deref();
        let key = key(condition.topic, subject);
        let seen = known.conditions.get(&key).copied().unwrap_or_default();
        if seen.is_present == condition.is_present {
            continue;
        }
        let notice = of_condition(observed, &condition, &format!("{key}\0{}", seen.changes));
        by_topic.entry((condition.topic, condition.is_present)).or_default().push(notice);
        let seen = ConditionSeen { is_present: condition.is_present, changes: seen.changes + 1 };
        known.conditions.insert(key, seen);
    }
    by_topic.into_values().flat_map(|notices| merged(observed, notices)).collect()
}

fn of_condition(observed: &Observed<'_>, condition: &Condition, which: &str) -> Notice {
    let resolved = !condition.is_present;
    let title = if resolved { format!("no longer: {}", condition.title) } else { condition.title.clone() };
    let notice = Notice::new(condition.topic, observed.sender(), observed.now, which, &title);
    let notice = Notice {
        severity: if resolved { Severity::Info } else { condition.severity },
        resolved,
        subject: condition.subject.clone(),
        ..notice
    };
    notice.with_lines(Some(&condition.text).filter(|text| !text.is_empty() && !resolved))
}

fn merged(observed: &Observed<'_>, notices: Vec<Notice>) -> Vec<Notice> {
    if notices.len() <= MAX_OF_ONE_TOPIC {
        return notices;
    }
    notices.chunks(MAX_MERGED).filter_map(|notices| one_of(observed, notices)).collect()
}

fn one_of(observed: &Observed<'_>, notices: &[Notice]) -> Option<Notice> {
    let first = notices.first()?;
    let which: String = notices.iter().map(|notice| notice.id.as_str()).collect();
    let word = if first.resolved { "no longer, " } else { "" };
    let title = format!("{}: {word}{} at once", first.topic, notices.len());
    let all = Notice::new(first.topic, observed.sender(), observed.now, &which, &title);
    let subjects: Vec<String> = notices.iter().filter_map(|notice| notice.subject.clone()).collect();
    let all = all.with_lines(&subjects);
    Some(Notice { severity: first.severity, resolved: first.resolved, subjects, ..all })
}
