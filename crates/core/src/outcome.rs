//! The states of sets, stages and nights.

use crate::words::words;

words! {
    /// The state of a set.
    Grade {
        /// Failed verification. It is kept as evidence and never counts as a copy.
        Bad = "bad",
        /// The members of one etcd cluster returned different hashes for the same revision.
        Diverged = "diverged",
        /// Verified, but implausible compared with the last good set (much smaller, older, or of another cluster).
        Suspicious = "suspicious",
        /// A required file was absent, or changed while it was read. It still counts as a copy.
        Degraded = "degraded",
        Good = "good",
    }
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
}

words! {
    /// How a stage ended.
    Outcome {
        Done = "done",
        /// It completed, but something is missing; the reason names it.
        Degraded = "degraded",
        Failed = "failed",
        /// The night closed, or the stage was refused, before it could start.
        Missed = "missed",
        /// The daemon stopped or crashed while it ran.
        Interrupted = "interrupted",
    }
}

words! {
    /// The result of a night on one host.
    Verdict {
        /// There is no good etcd snapshot of the cluster, or this host's own set is missing.
        Failed = "failed",
        /// Restorable, but something is missing, late, bad or not shipped; the reasons name it.
        Degraded = "degraded",
        Complete = "complete",
    }
}

impl Verdict {
    pub const fn is_restorable(self) -> bool {
        matches!(self, Self::Degraded | Self::Complete)
    }
}
