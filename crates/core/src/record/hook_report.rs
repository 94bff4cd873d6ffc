//! What happened to a hook in a night.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::hook::{Hook, Occasion};
use crate::name::HookName;
use crate::outcome::Outcome;

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
