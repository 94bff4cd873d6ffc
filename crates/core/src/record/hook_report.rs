//! What happened to a hook in a night.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;
use crate::hook::{Hook, Occasion};
use crate::name::HookName;
use crate::outcome::Outcome;
use crate::stage::Stage;

/// The last run of a hook. One that is due after the night has neither an end nor an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookReport {
    pub name: HookName,
    #[serde(flatten)]
    pub at: Occasion,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// `done` or `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default)]
    pub duration_ms: u64,
}

impl HookReport {
    pub fn due(hook: &Hook) -> Self {
        Self {
            name: hook.name.clone(),
            at: hook.at,
            ended: None,
            outcome: None,
            reason: None,
            duration_ms: 0,
        }
    }

    pub fn has_failed(&self) -> bool {
        self.outcome == Some(Outcome::Failed)
    }

    /// "hook freeze: freeze ended with exit code 3: no such volume"
    pub fn failure(&self) -> Option<String> {
        let reason = self.reason.as_deref().unwrap_or("unknown reason");
        self.has_failed().then(|| format!("hook {}: {reason}", self.name))
    }
}

impl Record {
    /// The newest report of a hook replaces earlier ones.
    pub(super) fn put_hook(&mut self, report: HookReport) {
        self.hooks.retain(|known| known.name != report.name);
        self.hooks.push(report);
    }

    /// Why hooks of this occasion failed.
    pub fn failed_hooks(&self, is_one: impl Fn(Occasion) -> bool) -> impl Iterator<Item = String> {
        self.hooks.iter().filter(move |report| is_one(report.at)).filter_map(HookReport::failure)
    }

    /// Whether a stage did all that it had to do. A failed hook degrades it, and changes nothing of its work.
    pub(super) fn has_done_its_work(&self, stage: Stage) -> bool {
        let outcome = self.stages.get(&stage).and_then(|state| state.outcome);
        outcome == Some(Outcome::Done)
            || outcome == Some(Outcome::Degraded)
                && self.failed_hooks(|at| at.stage == Some(stage)).next().is_some()
    }
}
