//! The states of a night's etcd sets: verified, agreed, copied, proved.

use std::collections::BTreeSet;

use nightshift_core::chain;
use nightshift_core::etcd_facts::{Agreement, AgreementState};
use nightshift_core::manifest::ManifestError;
use nightshift_core::name::{HostName, RemoteName};
use nightshift_core::outcome::Grade;
use nightshift_core::proof::DrillVerdict;
use nightshift_core::record::{ProofReport, Record};
use nightshift_core::role::Role;
use nightshift_core::secrets::SecretsReport;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_core::units::{self, count};
use nightshift_store::{Judge, Judged, StoreError, Vault, best_judged};
use serde::{Deserialize, Serialize};

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
        let last = ProofReport::last_of_each(&self.drills);
        let has = |verdict| last.iter().any(|drill| drill.verdict == verdict);
        if has(DrillVerdict::NotRestorable) {
            "failed"
        } else if has(DrillVerdict::Proved) {
            "proved"
        } else if has(DrillVerdict::NotProved) {
            "unproved"
        } else {
            "unchecked"
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

/// The states of a night's etcd sets in this host's vault. What cannot be read is added to `unreadable`, and hides nothing else.
pub fn of_night(settings: &Settings, record: &Record, unreadable: &mut Vec<String>) -> Vec<EtcdState> {
    let vault = Vault::of(settings);
    let hosts: BTreeSet<&HostName> = record.expected.iter().map(|expected| &expected.host).collect();
    let mut judge = Judge::new(&vault);
    let mut states = Vec::new();
    for host in hosts {
        let (judged, errors) = vault.judged(host, record.night, Role::Etcd);
        // A set of a newer format is reported when it is pulled.
        let is_newer = |error: &StoreError| {
            matches!(error, StoreError::Manifest { source: ManifestError::Newer(_), .. })
        };
        unreadable.extend(errors.iter().filter(|error| !is_newer(error)).map(|error| chain(error)));
        if let Some(best) = best_judged(judged) {
            let agreement = judge.agreement(&best.manifest);
            states.push(state(&vault, settings, record, &best, agreement.as_ref(), unreadable));
        }
    }
    states
}

fn state(
    vault: &Vault,
    settings: &Settings,
    record: &Record,
    judged: &Judged,
    agreement: Option<&Agreement>,
    unreadable: &mut Vec<String>,
) -> EtcdState {
    let this_master = settings.roles().has(Role::Master).then(|| settings.this.clone());
    let set = judged.manifest.id();
    let stored = vault.stored_proofs(&set);
    unreadable.extend(stored.unusable.iter().map(|reason| format!("a proof of {set} is unusable: {reason}")));
    let mut drills: Vec<ProofReport> =
        stored.proofs.iter().filter_map(|stored| ProofReport::of(&stored.proof)).collect();
    // A drill that proved nothing has no proof file, only a line in the record.
    let unproved = |drill: &&ProofReport| drill.set == set && drill.verdict == DrillVerdict::NotProved;
    drills.splice(0..0, record.proofs.iter().filter(unproved).cloned());
    let facts = judged.manifest.etcd.as_ref();
    let member = facts.map(|facts| facts.member_id.as_str());
    EtcdState {
        grade: judged.grade,
        verified: verified(record, &set, settings),
        without_masters: settings.inventory.with_role(Role::Master).next().is_none(),
        agreed: agreement.map(|agreement| agreed(agreement, member)),
        agreement: agreement.map(|agreement| agreement_word(agreement, member).to_owned()),
        masters: this_master.into_iter().chain(record.masters_with(&set).cloned()).collect(),
        remotes: record.remotes_with(&set).into_iter().cloned().collect(),
        secrets: record.secrets_of(&set, |host| settings.inventory.has(host, Role::Master)).cloned(),
        set,
        drills,
    }
}

/// What this host did itself. The manifest's text is only what the origin host states.
fn verified(record: &Record, set: &SetId, settings: &Settings) -> String {
    let stored = record.sets.iter().find(|report| report.set == *set && report.fate.is_stored());
    let at = stored.and_then(|report| report.verified);
    at.map_or_else(String::new, |at| {
        format!("verified here, {}", units::local_time(at, &settings.window.zone))
    })
}

fn has_diverged(agreement: &Agreement, member: Option<&str>) -> bool {
    agreement.diverged().iter().any(|diverged| Some(diverged.member_id.as_str()) == member)
}

/// The result of the comparison for one member, as text.
fn agreed(agreement: &Agreement, member: Option<&str>) -> String {
    let Agreement { state, reason, revision, .. } = agreement;
    if has_diverged(agreement, member) {
        return format!("DIVERGED at revision {revision}");
    }
    match reason {
        Some(reason) => format!("{}: {reason}", state.as_str()),
        None => format!("{} at revision {revision}", state.as_str()),
    }
}

/// The result of the comparison for one member, as a word. A member of the majority agrees even if another one has diverged.
fn agreement_word(agreement: &Agreement, member: Option<&str>) -> &'static str {
    match agreement.state {
        AgreementState::Unknown if agreement.members.len() < 2 => "n/a",
        AgreementState::Diverged if !has_diverged(agreement, member) => "agreed",
        state => state.as_str(),
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
