//! The state of an etcd set: verified, agreed, copied, proved.

use serde::{Deserialize, Serialize};

use crate::name::{HostName, RemoteName};
use crate::outcome::Grade;
use crate::proof::DrillVerdict;
use crate::record::ProofReport;
use crate::secrets::SecretsReport;
use crate::set_path::SetId;
use crate::units::{self, count};

/// The best etcd set of one host and night in this vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdState {
    pub set: SetId,
    pub grade: Grade,
    /// When this host itself verified it, as text; empty if it did not.
    pub verified: String,
    /// Whether all members had the same content, as text; `None` if no member compared them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<String>,
    /// The same as one word: `agreed`, `diverged`, `unknown`, or `n/a` for a single member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<String>,
    /// The results of the drills of this set, each with the copy and the host that made the drill.
    #[serde(default)]
    pub drills: Vec<ProofReport>,
    /// Whether the values that Kubernetes encrypted can be decrypted; `None` if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretsReport>,
    /// The masters whose vaults list the same manifest, this one included if it is one. Each verified its copy before it
    /// published it there; this host has not read the others' bytes. Only a master knows them; elsewhere this is empty.
    #[serde(default)]
    pub masters: Vec<HostName>,
    #[serde(default)]
    pub remotes: Vec<RemoteName>,
    /// The inventory has no master, so that no other host has a copy.
    #[serde(default)]
    pub without_masters: bool,
}

impl EtcdState {
    /// `verified`, `bad`, or `unchecked`.
    pub fn verified_word(&self) -> &'static str {
        match self.grade {
            Grade::Bad => "bad",
            _ if self.verified.is_empty() => "unchecked",
            _ => "verified",
        }
    }

    /// How many masters and remotes have it; `unknown` on a host that is not a master, unless there are none.
    pub fn copies(&self) -> String {
        match (self.masters.len(), self.remotes.len()) {
            (0, 0) if self.without_masters => "this host".to_owned(),
            (0, 0) => "unknown".to_owned(),
            (masters, remotes) => format!("{}, {}", count(masters, "master"), count(remotes, "remote")),
        }
    }

    /// `failed` if the last drill of any host found a copy that does not restore, else `proved` if a drill proved a copy, else
    /// `unproved` if no drill could be completed, or `unchecked` if there was none.
    pub fn proved_word(&self) -> &'static str {
        match ProofReport::decisive(&self.drills).map(|drill| drill.verdict) {
            Some(DrillVerdict::NotRestorable) => "failed",
            Some(DrillVerdict::Proved) => "proved",
            Some(DrillVerdict::NotProved) => "unproved",
            None => "unchecked",
        }
    }

    /// The last drill of each host as text.
    pub fn drill_lines(&self) -> Vec<String> {
        let last = ProofReport::last_of_each(&self.drills);
        let line = |drill: &&ProofReport| {
            let ProofReport { by, verdict, copy, reason, took_ms, .. } = drill;
            match (verdict, reason) {
                (DrillVerdict::Proved, _) => {
                    format!("proved by {by}, from {copy}, in {}", units::seconds(*took_ms))
                }
                (_, Some(reason)) => format!("{verdict} by {by}, from {copy}: {reason}"),
                (_, None) => format!("{verdict} by {by}, from {copy}"),
            }
        };
        last.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn copies_are_those_of_masters_and_remotes_or_this_hosts_alone_if_there_are_no_masters() {
        let state = |masters: &[&str], without_masters| EtcdState {
            set: "e1/2026-11-22/etcd".parse().unwrap(),
            grade: Grade::Good,
            verified: String::new(),
            agreed: None,
            agreement: None,
            drills: Vec::new(),
            secrets: None,
            masters: masters.iter().map(|name| name.parse().unwrap()).collect(),
            remotes: Vec::new(),
            without_masters,
        };
        assert_eq!(state(&["m1", "m2"], false).copies(), "2 masters, 0 remotes");
        assert_eq!(state(&[], false).copies(), "unknown");
        assert_eq!(state(&[], true).copies(), "this host");
        assert_eq!(state(&["m1"], false).verified_word(), "unchecked", "this host did not verify it");
    }
}
