//! The states of sets, stages and nights.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// Failed verification. It is kept as evidence and never counts as a copy.
    Bad,
    /// The members of one etcd cluster returned different hashes for the same revision.
    Diverged,
    /// Verified, but implausible compared with the last good set (much smaller, older, or of another cluster).
    Suspicious,
    /// A required file was absent, or changed while it was read. It still counts as a copy.
    Degraded,
    Good,
}

impl Grade {
    /// Whether a set of this grade counts as a copy that a restore may use.
    pub const fn is_copy(self) -> bool {
        matches!(self, Self::Good | Self::Degraded)
    }

    /// Whether an operator can accept it as a good copy.
    pub const fn awaits_acceptance(self) -> bool {
        matches!(self, Self::Suspicious | Self::Diverged)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Diverged => "diverged",
            Self::Suspicious => "suspicious",
            Self::Degraded => "degraded",
            Self::Good => "good",
        }
    }
}

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Done,
    /// It completed, but something is missing; the reason names it.
    Degraded,
    Failed,
    /// The night closed, or the stage was refused, before it could start.
    Missed,
    /// The daemon stopped or crashed while it ran.
    Interrupted,
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Missed => "missed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The result of a night on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// There is no good etcd snapshot of the cluster, or this host's own set is missing.
    Failed,
    /// Restorable, but something is missing, late, bad or not shipped; the reasons name it.
    Degraded,
    Complete,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Degraded => "degraded",
            Self::Complete => "complete",
        }
    }

    pub const fn is_restorable(self) -> bool {
        matches!(self, Self::Degraded | Self::Complete)
    }
}

macro_rules! shown_as_str {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    )*};
}
shown_as_str!(Grade, Outcome, Verdict);
