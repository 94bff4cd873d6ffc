//! A drill's word as a night's record has it.

use serde::{Deserialize, Serialize};

use crate::name::HostName;
use crate::proof::{DrillReport, DrillVerdict, Proof};
use crate::set_path::SetId;

/// What a drill said of a set, here or on another host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofReport {
    pub set: SetId,
    pub by: HostName,
    pub verdict: DrillVerdict,
    /// Which copy was restored, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub copy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default)]
    pub took_ms: u64,
}

impl ProofReport {
    /// What a proof tells of its drill; `None` where it tells of none.
    pub fn of(proof: &Proof) -> Option<Self> {
        Some(Self::of_drill(&proof.set, &proof.by, proof.drill()?))
    }

    pub fn of_drill(set: &SetId, by: &HostName, report: &DrillReport) -> Self {
        Self {
            set: set.clone(),
            by: by.clone(),
            verdict: report.verdict,
            copy: report.copy.clone(),
            reason: report.reason.clone(),
            took_ms: report.took_ms(),
        }
    }
}
