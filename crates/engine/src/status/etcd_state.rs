//! The states of a night's etcd sets: verified, agreed, copied, proved.

use std::collections::BTreeSet;

use nightshift_core::chain;
use nightshift_core::etcd_facts::{Agreement, AgreementState};
use nightshift_core::manifest::ManifestError;
use nightshift_core::name::HostName;
use nightshift_core::proof::DrillVerdict;
use nightshift_core::record::{ProofReport, Record};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_core::status::EtcdState;
use nightshift_core::units;
use nightshift_store::records::Records;
use nightshift_store::{Judge, Judged, StoreError, Vault, best_judged};

use super::lost_copies;

/// The states of a night's etcd sets in this host's vault. What cannot be read is added to `unreadable`, and hides nothing else.
pub fn of_night(settings: &Settings, record: &Record, unreadable: &mut Vec<String>) -> Vec<EtcdState> {
    let vault = Vault::of(settings);
    let hosts: BTreeSet<&HostName> = record.expected.iter().map(|expected| &expected.host).collect();
    let lost = lost_copies::since(&Records::new(settings.paths.records()), record.night);
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
            let remotes = record.remotes_with(&best.manifest.id(), &lost).into_iter().cloned().collect();
            let state = state(&vault, settings, record, &best, agreement.as_ref(), unreadable);
            states.push(EtcdState { remotes, ..state });
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
        remotes: Vec::new(),
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
