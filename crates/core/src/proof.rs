//! What was stated about a set after it was published: that it restores, or that a person accepts it.
//!
//! Each statement is a file of its own in `<role>.proofs/`, written once. It holds for every copy of the set with that
//! manifest, wherever it lies.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{ClusterName, HostName};
use crate::set_path::SetId;

/// The format written, and the newest one understood.
pub const FORMAT: u32 = 1;
/// The most bytes that a proof may have.
pub const MOST_BYTES: u64 = 256 << 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub format: u32,
    pub cluster: ClusterName,
    pub set: SetId,
    /// The SHA-256 of the set's manifest.
    pub manifest: Digest,
    /// The host that states it.
    pub by: HostName,
    pub at: Timestamp,
    /// The version of nightshift that wrote it.
    pub with: String,
    pub statement: Statement,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statement {
    Drill(DrillReport),
    /// A person looked at a suspicious or diverged set and says that it is right.
    Accepted {
        who: String,
    },
}

/// How a drill went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillReport {
    pub verdict: DrillVerdict,
    /// Why it is not proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which copy was restored, in words: `the vault of etcd1`, or an archive's name.
    pub copy: String,
    /// With which programs, in words.
    #[serde(default)]
    pub tools: String,
    #[serde(default)]
    pub compared: Vec<Comparison>,
    #[serde(default)]
    pub steps: Vec<DrillStep>,
}

/// One thing that must be the same in the manifest or the stored copy and in the restored etcd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    pub what: String,
    pub expected: String,
    pub found: String,
}

impl Comparison {
    pub fn is_same(&self) -> bool {
        self.expected == self.found
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillStep {
    pub name: String,
    pub took_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrillVerdict {
    /// It was restored, held what it should, and took a write.
    Proved,
    /// It was tried, and the copy does not restore.
    NotRestorable,
    /// It could not be tried: no etcd binary, no room, no memory. Says nothing about the copy.
    NotProved,
}

impl DrillVerdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::NotRestorable => "not restorable",
            Self::NotProved => "not proved",
        }
    }
}

impl fmt::Display for DrillVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Proof {
    /// `<prover>-<utc>.json`.
    pub fn file_name(&self) -> String {
        format!("{}-{}.json", self.by, self.at.strftime("%Y%m%dT%H%M%SZ"))
    }

    pub fn is_proved(&self) -> bool {
        matches!(&self.statement, Statement::Drill(report) if report.verdict == DrillVerdict::Proved)
    }

    pub fn is_accepted(&self) -> bool {
        matches!(self.statement, Statement::Accepted { .. })
    }
}
