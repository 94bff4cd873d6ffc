//! What was reported so far, and what is found now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Topic;
use crate::name::{ClusterName, HostName};
use crate::night::Night;
use crate::outcome::Verdict;
use crate::record::Record;
use crate::status::Space;
use crate::summary::Judgement;

/// What was reported so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pub format: u32,
    #[serde(default)]
    pub(super) nights: BTreeMap<Night, NightSeen>,
    /// The result of the last scheduled night.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<Verdict>,
    /// By topic and subject.
    #[serde(default)]
    pub(super) conditions: BTreeMap<String, ConditionSeen>,
}

/// What is known of a night.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NightSeen {
    /// The result that was reported last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// How often a result was reported.
    #[serde(default)]
    pub changes: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ConditionSeen {
    pub is_present: bool,
    /// How often it came and went.
    pub changes: u32,
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

pub(super) fn key(topic: Topic, subject: Option<&str>) -> String {
    subject.map_or_else(|| topic.to_string(), |subject| format!("{topic} {subject}"))
}
