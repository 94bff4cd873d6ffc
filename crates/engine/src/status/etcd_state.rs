//! What is known of a night's etcd sets: verified, agreed, proved.

use nightshift_core::etcd_facts::{Agreement, AgreementState};
use nightshift_core::name::{HostName, RemoteName};
use nightshift_core::outcome::Grade;
use nightshift_core::proof::DrillVerdict;
use nightshift_core::record::{ProofReport, Record};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_core::units;
use serde::{Deserialize, Serialize};

use nightshift_store::{Judged, StoreError, Vault};

/// The best etcd set of one host and night in this vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdState {
    pub set: SetId,
    pub grade: Grade,
    /// Which checks it passed, in words.
    pub verified: String,
    /// Whether all members held the same, in words; `None` where nobody asked them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<String>,
    /// What drills said of it, on which copy and by whom.
    #[serde(default)]
    pub drills: Vec<ProofReport>,
    /// Where this host knows it to be: no other than a master knows of more than itself.
    #[serde(default)]
    pub masters: Vec<HostName>,
    #[serde(default)]
    pub remotes: Vec<RemoteName>,
}

impl EtcdState {
    /// On how many masters and remotes it lies, as far as this host knows.
    pub fn copies(&self) -> String {
        let count =
            |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        match (self.masters.len(), self.remotes.len()) {
            (0, 0) => "ask a master".to_owned(),
            (masters, remotes) => format!("{}, {}", count(masters, "master"), count(remotes, "remote")),
        }
    }

    /// What the drills come to, the last of each prover: that a copy does not restore counts for more than that another
    /// does.
    pub fn proved(&self) -> String {
        let last = ProofReport::last_of_each(&self.drills);
        let of = |verdict| last.iter().rev().find(|drill| drill.verdict == verdict);
        let found = of(DrillVerdict::NotRestorable)
            .or_else(|| of(DrillVerdict::Proved))
            .or_else(|| of(DrillVerdict::NotProved));
        let Some(ProofReport { by, verdict, copy, reason, took_ms, .. }) = found else {
            return "-".to_owned();
        };
        match (verdict, reason) {
            (DrillVerdict::Proved, _) => format!("by {by}, from {copy}, in {}", units::seconds(*took_ms)),
            (_, Some(reason)) => format!("{verdict} by {by}, from {copy}: {reason}"),
            (_, None) => format!("{verdict} by {by}, from {copy}"),
        }
    }
}

/// The states of a night's etcd sets; a set that is not here has none.
pub fn of_night(settings: &Settings, record: &Record) -> Result<Vec<EtcdState>, StoreError> {
    let vault = Vault::new(&settings.vault.path);
    let mut hosts: Vec<&HostName> = record.expected.iter().map(|expected| &expected.host).collect();
    hosts.sort();
    hosts.dedup();
    let mut held = Vec::new();
    for host in hosts {
        held.extend(vault.best(host, record.night, Role::Etcd)?);
    }
    let told = held.iter().filter_map(|judged| judged.manifest.etcd.as_ref()?.agreement.as_ref());
    // That somebody differs says more than that somebody else could not be asked.
    let asked = told.max_by_key(|told| match told.state {
        AgreementState::Unknown => 0,
        AgreementState::Agreed => 1,
        AgreementState::Diverged => 2,
    });
    let masters = settings.roles().has(Role::Master).then(|| settings.this.clone());
    held.iter().map(|judged| state(&vault, record, judged, asked, masters.clone())).collect()
}

fn state(
    vault: &Vault,
    record: &Record,
    judged: &Judged,
    asked: Option<&Agreement>,
    this_master: Option<HostName>,
) -> Result<EtcdState, StoreError> {
    let set = judged.manifest.id();
    let mut drills: Vec<ProofReport> = vault.proofs(&set)?.iter().filter_map(ProofReport::of).collect();
    // What could not be tried has no file.
    let untried = |drill: &&ProofReport| drill.set == set && drill.verdict == DrillVerdict::NotProved;
    drills.splice(0..0, record.proofs.iter().filter(untried).cloned());
    let facts = judged.manifest.etcd.as_ref();
    Ok(EtcdState {
        grade: judged.grade,
        verified: facts.map(|facts| facts.checked.clone()).unwrap_or_default(),
        agreed: asked.map(|asked| agreed(asked, facts.map(|facts| facts.member_id.as_str()))),
        masters: this_master.into_iter().chain(record.masters_with(&set).cloned()).collect(),
        remotes: record.remotes_with(&set).into_iter().cloned().collect(),
        set,
        drills,
    })
}

/// What the members' answers say of one of them.
fn agreed(asked: &Agreement, member: Option<&str>) -> String {
    if asked.diverged().iter().any(|diverged| Some(diverged.member_id.as_str()) == member) {
        return format!("DIVERGED at revision {}", asked.revision);
    }
    match &asked.reason {
        Some(reason) => format!("{}: {reason}", asked.state.as_str()),
        None => format!("{} at revision {}", asked.state.as_str(), asked.revision),
    }
}
