//! What one line of an open record says.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ProofReport;
use crate::digest::Digest;
use crate::name::{HostName, RemoteName};
use crate::night::Night;
use crate::outcome::{Grade, Outcome, Verdict};
use crate::role::Role;
use crate::set_path::SetId;
use crate::stage::Stage;

/// One line of an open record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub at: Timestamp,
    #[serde(flatten)]
    pub step: Step,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    Opened {
        format: u32,
        night: Night,
        host: HostName,
        version: String,
        closes: Timestamp,
        /// The sets that this host should hold when the night is over.
        expected: Vec<Expected>,
        stages: Vec<Stage>,
        remotes: Vec<RemoteName>,
    },
    Started {
        stage: Stage,
        attempt: u32,
        why: Why,
    },
    Set(SetReport),
    Packed(Packed),
    Shipped {
        archive: String,
        remote: RemoteName,
        bytes: u64,
        sha256: Digest,
        verified: String,
    },
    NotShipped {
        archive: String,
        remote: RemoteName,
        reason: String,
    },
    /// Another master holds the same, manifest for manifest.
    Seen {
        master: HostName,
        sets: BTreeSet<SetId>,
    },
    Proved(ProofReport),
    Pruned {
        what: String,
        because: String,
    },
    Ended {
        stage: Stage,
        attempt: u32,
        outcome: Outcome,
        reason: Option<String>,
        duration_ms: u64,
    },
    Closed {
        verdict: Verdict,
        reasons: Vec<String>,
    },
}

/// Why a stage was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    Due,
    /// Its time had passed while the host or the daemon was down.
    CaughtUp,
    Retry,
    /// Its waiting was over; it looks once more for what was missing.
    LookAgain,
    /// Something came after the archive was packed.
    Repack,
    Asked,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Expected {
    pub host: HostName,
    pub role: Role,
    /// Never seen before and added lately: not missing yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new: bool,
    /// A copy from any host of the role will do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any: bool,
}

/// What became of one host's set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetReport {
    pub set: SetId,
    pub fate: Fate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grade: Option<Grade>,
    /// The host it was pulled from, where that is not its maker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<HostName>,
    #[serde(default)]
    pub bytes: u64,
    /// Of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Made and published by this host.
    Published,
    Pulled,
    /// Pulled after the stage's waiting was over.
    Late,
    Missing,
    /// It came, and was not taken: a wrong hash, another host's name, a bad signature.
    Refused,
}

impl Fate {
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Published | Self::Pulled | Self::Late)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Packed {
    pub archive: String,
    pub bytes: u64,
    pub sha256: Digest,
    pub sets: usize,
    /// The etcd sets among them.
    #[serde(default)]
    pub etcd: Vec<SetId>,
    pub missing: Vec<String>,
    pub encrypted: bool,
}
