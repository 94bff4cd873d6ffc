//! The restore of a cluster: the plan as a value, made from the manifests and the small files of one night, before there are machines.
//!
//! The steps are those of the runbook. The operator creates the machines (1) and installs them (2). Then the plan stops what runs (3),
//! and restores etcd (4), the nodes (5) and the masters (6), and starts the control plane (7). Each step is a list of acts, and one act
//! is one call on one machine.

pub mod act;
mod certificates;
pub mod choice;
pub mod commands;
pub mod contents;
pub mod copy;
pub mod difference;
pub mod etcd;
pub mod evidence;
pub mod finding;
pub mod id;
pub mod join;
pub mod machine;
pub mod make;
pub mod nightly;
pub mod page;
mod parts;
pub mod pods;
pub mod scope;
pub mod steps;
pub mod units;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::{ClusterName, RemoteName};
use crate::restore::etcd::EtcdPlan;
use crate::restore::finding::{Finding, FindingKind};
use crate::restore::id::PlanId;
use crate::restore::join::Join;
use crate::restore::machine::Machine;
use crate::restore::scope::Scope;
use crate::text::Text;

/// The format that is written, and the newest one that is read.
pub const FORMAT: u32 = 1;
/// The file of the plan in its directory.
pub const FILE: &str = "plan.json";

/// How a cluster is rebuilt from the sets of one night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub format: u32,
    pub id: PlanId,
    pub cluster: ClusterName,
    pub made_at: Timestamp,
    #[serde(default, skip_serializing_if = "is_cluster")]
    pub scope: Scope,
    /// Where the sets are from, as text: `master1_2026.11.28.tgz.age`, or a vault.
    pub source: Text,
    /// Who signed them, as far as it was checked.
    pub signed: Text,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remotes: Vec<RemoteLogin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdPlan>,
    /// Members that join others: the one of a living cluster that is restored alone, or all but the first one of `etcd`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joins: Vec<Join>,
    pub machines: Vec<Machine>,
    /// Hosts that run and have to do with one that is restored, without files: they get its new host key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Machine>,
    pub findings: Vec<Finding>,
}

fn is_cluster(scope: &Scope) -> bool {
    *scope == Scope::Cluster
}

/// A remote, which still exists: the masters' new keys are authorized there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteLogin {
    pub name: RemoteName,
    pub user: String,
    pub address: String,
    pub port: u16,
}

impl Plan {
    /// Why the plan cannot be carried out.
    pub fn refusals(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.kind == FindingKind::Refused)
    }

    pub fn is_refused(&self) -> bool {
        self.refusals().next().is_some()
    }
}

#[cfg(test)]
mod tests;
