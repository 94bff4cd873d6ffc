//! One line of an open record.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{HookReport, ProofReport};
use crate::backup::Backup;
use crate::digest::Digest;
use crate::name::{HostName, RemoteName};
use crate::night::Night;
use crate::outcome::{Grade, Outcome, Verdict};
use crate::restorable::Restorable;
use crate::role::Role;
use crate::secrets::SecretsReport;
use crate::set_path::SetId;
use crate::stage::Stage;
use crate::text::{Text, one_line};
use crate::tolerance::Tolerance;

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
        /// The sets that this host should have when the night closes.
        expected: Vec<Expected>,
        stages: Vec<Stage>,
        remotes: Vec<RemoteName>,
        /// The plan of the restore that the night proves.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restored: Option<Text>,
        /// An operator backs up the whole cluster.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backup: Option<Backup>,
        /// How many nodes may be missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tolerate: Option<Tolerance>,
    },
    Started {
        stage: Stage,
        attempt: u32,
        why: StartReason,
    },
    Set(SetReport),
    Packed(Packed),
    Shipped {
        archive: String,
        remote: RemoteName,
        bytes: u64,
        sha256: Digest,
        verified: String,
        /// Its name on the remote, where its own name was taken there by other content.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stored_as: Option<String>,
    },
    /// The kit of this host on one remote, shipped or not.
    Kit(Shipment),
    /// An archive was verified again on a remote.
    Rechecked(Recheck),
    NotShipped {
        archive: String,
        remote: RemoteName,
        reason: String,
    },
    /// Another master has these sets too, with the same manifests.
    Seen {
        master: HostName,
        sets: BTreeSet<SetId>,
    },
    Proved(ProofReport),
    /// This host checked the encrypted values of a set, which no drill had checked.
    Secrets {
        set: SetId,
        #[serde(flatten)]
        report: SecretsReport,
    },
    /// The plan of a restore was made from this host's vault.
    Restorable(Restorable),
    /// A hook ended; or it is due after the night, if it has no outcome.
    Hook(HookReport),
    Pruned {
        what: String,
        #[serde(rename = "because")]
        reason: String,
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

impl Step {
    /// The step with each reason as [`one_line`]: a record is read as a whole, and no other host decides how long it is.
    pub fn bounded(mut self) -> Self {
        let reasons: &mut [String] = match &mut self {
            Self::Set(SetReport { reason, .. }) | Self::Ended { reason, .. } => reason.as_mut_slice(),
            Self::Kit(Shipment { reason, .. }) | Self::Hook(HookReport { reason, .. }) => {
                reason.as_mut_slice()
            }
            Self::NotShipped { reason, .. } | Self::Pruned { reason, .. } => std::slice::from_mut(reason),
            Self::Rechecked(Recheck { result, .. }) => std::slice::from_mut(result.text_mut()),
            Self::Packed(Packed { missing, .. }) => missing,
            Self::Closed { reasons, .. } => reasons,
            Self::Opened { .. } | Self::Started { .. } | Self::Shipped { .. } => &mut [],
            Self::Seen { .. } | Self::Proved(_) | Self::Secrets { .. } | Self::Restorable(_) => &mut [],
        };
        reasons.iter_mut().for_each(|reason| *reason = one_line(reason));
        self
    }
}

/// Why a stage was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartReason {
    Due,
    /// The host or the daemon was down at its time.
    CaughtUp,
    /// It failed before.
    Retry,
    /// Sets were still missing at its `until`: it retries for them.
    #[serde(rename = "look-again")]
    MissingSets,
    /// A set arrived after the archive was packed.
    Repack,
    /// An operator requested it.
    #[serde(rename = "asked")]
    Requested,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Expected {
    pub host: HostName,
    pub role: Role,
    /// The host was added recently and never published a set: the set does not count as missing yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new: bool,
    /// One copy of any host of the role is enough.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any: bool,
    /// The night of the last good set before this one, for a node that may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<Night>,
}

/// What happened to one host's set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetReport {
    pub set: SetId,
    pub fate: Fate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grade: Option<Grade>,
    /// The host it was pulled from, if that is not the set's own host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<HostName>,
    /// The sum of all file sizes.
    #[serde(default)]
    pub bytes: u64,
    /// The hash of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When this host itself verified every byte of it, and its snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// This host created and published it.
    Published,
    Pulled,
    /// It was pulled after the stage's `until`.
    Late,
    Missing,
    /// It arrived but was not stored: a wrong hash, another host's name, a bad signature.
    Refused,
}

impl Fate {
    pub const fn is_stored(self) -> bool {
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
    /// What the archive should contain but does not, with the reasons.
    pub missing: Vec<String>,
    pub encrypted: bool,
}

impl Packed {
    /// Whether it lacks anything beside these sets.
    pub fn lacks_more_than(&self, sets: &[&Expected]) -> bool {
        let starts: Vec<String> = sets.iter().map(|set| format!("{} {}: ", set.host, set.role)).collect();
        self.missing.iter().any(|missing| !starts.iter().any(|start| missing.starts_with(start)))
    }
}

/// An archive on a remote; also this host's kit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shipment {
    pub archive: String,
    pub remote: RemoteName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// How it was verified on the remote; `None` if it was not shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its name on the remote, where its own name was taken there by other content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_as: Option<String>,
}

/// Whether a remote still has an archive as it was shipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recheck {
    /// Its name there.
    pub archive: String,
    pub remote: RemoteName,
    #[serde(flatten)]
    pub result: Rechecked,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rechecked {
    /// How.
    Verified(String),
    /// It is gone, or has other content.
    Wrong(String),
    /// It could not be checked, for this reason.
    Unchecked(String),
}

impl Rechecked {
    const fn text_mut(&mut self) -> &mut String {
        match self {
            Self::Verified(text) | Self::Wrong(text) | Self::Unchecked(text) => text,
        }
    }
}

impl Shipment {
    /// Its name on the remote.
    pub fn name_there(&self) -> &str {
        self.stored_as.as_deref().unwrap_or(&self.archive)
    }
}
