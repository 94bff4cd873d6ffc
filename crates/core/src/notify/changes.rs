//! What has changed since the last look, as notices. The same change always has the same id: a crash between a notice and what is
//! known of it makes the same notice again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::conditions::{Condition, conditions};
use super::night::{NightSeen, opened, settled};
use super::{Notice, Severity, Topic};
use crate::name::{ClusterName, HostName};
use crate::night::Night;
use crate::outcome::Verdict;
use crate::record::Record;
use crate::status::Space;
use crate::summary::Judgement;

/// More changes of one kind at once are one notice: a lost known_hosts is not a thousand mails.
const MAX_OF_ONE_TOPIC: usize = 10;

/// What was reported so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pub format: u32,
    #[serde(default)]
    nights: BTreeMap<Night, NightSeen>,
    /// The result of the last scheduled night.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Verdict>,
    /// By topic and subject.
    #[serde(default)]
    conditions: BTreeMap<String, ConditionSeen>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ConditionSeen {
    is_present: bool,
    /// How often it came and went.
    changes: u32,
}

/// What is found now.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    pub cluster: &'a ClusterName,
    pub host: &'a HostName,
    pub now: Timestamp,
    /// The newest nights, the oldest first; with the result, once all stages have ended.
    pub nights: &'a [(Record, Option<Judgement>)],
    pub stale: Option<&'a str>,
    pub vault: Option<Space>,
    pub min_free: u64,
}

impl<'a> Observed<'a> {
    pub(super) const fn sender(&self) -> (&'a ClusterName, &'a HostName) {
        (self.cluster, self.host)
    }
}

impl Known {
    pub(super) fn is_present(&self, topic: Topic, subject: Option<&str>) -> bool {
        self.conditions.get(&key(topic, subject)).is_some_and(|seen| seen.is_present)
    }
}

fn key(topic: Topic, subject: Option<&str>) -> String {
    subject.map_or_else(|| topic.to_string(), |subject| format!("{topic} {subject}"))
}

/// The notices, and what is known when they are in the queue. `known` is `None` the first time: nights before are not reported.
pub fn changes(known: Option<&Known>, observed: &Observed<'_>) -> (Known, Vec<Notice>) {
    let first = known.is_none();
    let mut known = known.cloned().unwrap_or_default();
    known.format = super::FORMAT;
    let mut notices = of_nights(&mut known, observed, first);
    for condition in grouped(&mut known, observed) {
        notices.push(condition);
    }
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
    let [first, ..] = &notices[..] else { return notices };
    if notices.len() <= MAX_OF_ONE_TOPIC {
        return notices;
    }
    let which: String = notices.iter().map(|notice| notice.id.as_str()).collect();
    let word = if first.resolved { "no longer, " } else { "" };
    let title = format!("{}: {word}{} at once", first.topic, notices.len());
    let all = Notice::new(first.topic, observed.sender(), observed.now, &which, &title);
    let all = Notice { severity: first.severity, resolved: first.resolved, ..all };
    vec![all.with_lines(notices.iter().filter_map(|notice| notice.subject.as_ref()))]
}
