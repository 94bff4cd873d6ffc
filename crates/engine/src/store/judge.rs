//! What a set is worth: its manifest's grade, lowered where the members' agreement names its member, raised where a person
//! accepts it. Wherever a grade decides, it is this one.

use std::collections::BTreeMap;

use nightshift_core::etcd_facts::Agreement;
use nightshift_core::manifest::Manifest;
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::proof::Proof;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;

use super::fault::StoreError;
use super::layout::Vault;

/// A set and its worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub manifest: Manifest,
    pub grade: Grade,
    /// Why the grade is not `good`, one line each.
    pub notes: Vec<String>,
    /// A person says that it is right.
    pub accepted: bool,
    /// A drill restored it.
    pub proved: bool,
}

impl Judged {
    /// Why it is not good; `None` where it is.
    pub fn reason(&self) -> Option<String> {
        (self.grade != Grade::Good && !self.notes.is_empty()).then(|| self.notes.join("; "))
    }
}

/// Judges sets of one vault; the agreements of a night are read once.
#[derive(Debug)]
pub struct Judge<'a> {
    vault: &'a Vault,
    disagreements: BTreeMap<Night, Vec<Disagreement>>,
}

/// One etcd host's word that the members do not hold the same.
#[derive(Debug)]
struct Disagreement {
    told_by: SetId,
    cluster_id: String,
    agreement: Agreement,
}

impl<'a> Judge<'a> {
    pub fn new(vault: &'a Vault) -> Self {
        Self { vault, disagreements: BTreeMap::new() }
    }

    pub fn judge(&mut self, set: &SetId) -> Result<Judged, StoreError> {
        let manifest = self.vault.manifest(set)?;
        // What cannot be read states nothing.
        let proofs = self.vault.proofs(set).unwrap_or_else(|error| {
            tracing::warn!("what was stated of {set} is passed over: {}", crate::chain(&error));
            Vec::new()
        });
        let (accepted, proved) = (proofs.iter().any(Proof::is_accepted), proofs.iter().any(Proof::is_proved));
        let mut grade = manifest.grade;
        let mut notes = manifest.notes.clone();
        if let Some(note) = self.diverged(&manifest)
            && grade > Grade::Diverged
        {
            grade = Grade::Diverged;
            notes.insert(0, note);
        }
        if accepted && grade.awaits_acceptance() {
            grade = Grade::Good;
        }
        Ok(Judged { manifest, grade, notes, accepted, proved })
    }

    /// What an agreement of that night says against the member that this set was taken of.
    fn diverged(&mut self, manifest: &Manifest) -> Option<String> {
        let etcd = manifest.etcd.as_ref()?;
        let vault = self.vault;
        let night = manifest.night;
        let told = self.disagreements.entry(night).or_insert_with(|| disagreements(vault, night));
        told.iter().filter(|told| told.cluster_id == etcd.cluster_id).find_map(|told| {
            let named = told.agreement.diverged().into_iter().find(|it| it.member_id == etcd.member_id)?;
            Some(format!(
                "its member {} ({}) holds something else than the others: {}, as {} has it",
                named.name,
                named.member_id,
                told.agreement.reason.as_deref().unwrap_or("their hashes differ"),
                told.told_by
            ))
        })
    }
}

/// The agreements of a night that name somebody. A manifest that cannot be read names nobody.
fn disagreements(vault: &Vault, night: Night) -> Vec<Disagreement> {
    let sets = vault.sets_of_night(night).unwrap_or_default();
    let etcd = sets.into_iter().filter(|set| set.role == Role::Etcd);
    etcd.filter_map(|set| {
        let facts = vault.manifest(&set).ok()?.etcd?;
        let agreement = facts.agreement.filter(|agreement| !agreement.diverged().is_empty())?;
        Some(Disagreement { told_by: set, cluster_id: facts.cluster_id, agreement })
    })
    .collect()
}
