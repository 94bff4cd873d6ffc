//! The result of a drill in a night's record.

use serde::{Deserialize, Serialize};

use crate::name::HostName;
use crate::proof::{DrillReport, DrillVerdict, Proof};
use crate::secrets::SecretsReport;
use crate::set_path::SetId;
use crate::text::Text;

/// The result of a drill of a set, on this or another host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofReport {
    pub set: SetId,
    pub by: HostName,
    pub verdict: DrillVerdict,
    /// Which copy was restored, as text.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub copy: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    #[serde(default)]
    pub took_ms: u64,
    /// Whether the values that Kubernetes encrypted can be decrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretsReport>,
}

impl ProofReport {
    /// The drill's result in a proof; `None` if it is not a proof of a drill.
    pub fn of(proof: &Proof) -> Option<Self> {
        Some(Self::of_drill(&proof.set, &proof.by, proof.drill()?))
    }

    /// The last report of each prover. `reports` are in the order of their times.
    pub fn last_of_each(reports: &[Self]) -> Vec<&Self> {
        let is_last = |at: usize, by: &HostName| reports.iter().skip(at + 1).all(|later| later.by != *by);
        let numbered = reports.iter().enumerate();
        numbered.filter(|(at, report)| is_last(*at, &report.by)).map(|(_, report)| report).collect()
    }

    /// The report that decides about a set: of the last ones of each prover one that failed, else one that proved it.
    pub fn decisive(reports: &[Self]) -> Option<&Self> {
        Self::last_of_each(reports).into_iter().max_by_key(|report| match report.verdict {
            DrillVerdict::NotRestorable => 2,
            DrillVerdict::Proved => 1,
            DrillVerdict::NotProved => 0,
        })
    }

    pub fn of_drill(set: &SetId, by: &HostName, report: &DrillReport) -> Self {
        Self {
            set: set.clone(),
            by: by.clone(),
            verdict: report.verdict,
            copy: report.copy.clone(),
            reason: report.reason.clone(),
            took_ms: report.took_ms(),
            secrets: report.secrets.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_drill_that_found_a_copy_not_restorable_decides_until_the_same_host_proves_it() {
        let drill = |by: &str, verdict| ProofReport {
            set: "e1/2026-11-22/etcd".parse().unwrap(),
            by: by.parse().unwrap(),
            verdict,
            copy: Text::default(),
            reason: None,
            took_ms: 1,
            secrets: None,
        };
        let (proved, failed) = (DrillVerdict::Proved, DrillVerdict::NotRestorable);
        let decisive = |reports: &[ProofReport]| ProofReport::decisive(reports).map(|it| it.verdict);
        let mut reports =
            vec![drill("e1", failed), drill("m1", proved), drill("m2", DrillVerdict::NotProved)];
        assert_eq!(decisive(&reports), Some(failed));
        reports.push(drill("e1", proved));
        assert_eq!(decisive(&reports), Some(proved));
        assert_eq!(decisive(&reports[2..3]), Some(DrillVerdict::NotProved));
        assert_eq!(decisive(&[]), None);
    }
}
