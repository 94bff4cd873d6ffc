//! The words for how things went.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a set is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// Failed its checks: evidence, never a copy.
    Bad,
    /// Members of one cluster disagree about its content.
    Diverged,
    /// Sound in itself, but implausible beside the last good one.
    Suspicious,
    /// A required file was absent or kept changing: still a copy.
    Degraded,
    Good,
}

impl Grade {
    /// Whether a set of this grade counts as a copy that a restore may use.
    pub const fn is_copy(self) -> bool {
        matches!(self, Self::Good | Self::Degraded)
    }

    /// Whether a person's word can make it a copy.
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
    /// It did what it could; something named is missing.
    Degraded,
    Failed,
    /// Its time passed before it could begin.
    Missed,
    /// The daemon ended in the middle of it.
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

/// What a night was worth to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No good etcd snapshot of the cluster, or this host's own set is missing.
    Failed,
    /// Restorable, but something named is missing, late, bad or not shipped.
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
