//! What a set is worth: its manifest's grade, lowered where the members' agreement names its member or where it went back
//! behind an earlier set that is held here, raised where a person accepts it. Wherever a grade decides, it is this one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nightshift_core::etcd_facts::{Agreement, AgreementState};
use nightshift_core::manifest::Manifest;
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::plausible;
use nightshift_core::proof::{DrillVerdict, Proof};
use nightshift_core::record::ProofReport;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;

use crate::fault::StoreError;
use crate::layout::Vault;

/// A set and its worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub manifest: Manifest,
    pub grade: Grade,
    /// Why the grade is not `good`, one line each.
    pub notes: Vec<String>,
    /// A person says that it is right.
    pub accepted: bool,
    /// A drill restored it, and none of the same host has failed since.
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
    told: BTreeMap<Night, Vec<Told>>,
}

/// One etcd host's word on whether the members hold the same.
#[derive(Debug)]
struct Told {
    by: SetId,
    at: Timestamp,
    cluster_id: String,
    agreement: Agreement,
}

impl Vault {
    /// What a set is worth, with everything that was found or stated about it later.
    pub fn judge(&self, set: &SetId) -> Result<Judged, StoreError> {
        Judge::new(self).judge(set)
    }
}

impl<'a> Judge<'a> {
    pub fn new(vault: &'a Vault) -> Self {
        Self { vault, told: BTreeMap::new() }
    }

    pub fn judge(&mut self, set: &SetId) -> Result<Judged, StoreError> {
        let manifest = self.vault.manifest(set)?;
        // What cannot be read states nothing.
        let proofs = self.vault.proofs(set).unwrap_or_else(|error| {
            tracing::warn!("what was stated of {set} is passed over: {}", nightshift_core::chain(&error));
            Vec::new()
        });
        let accepted = proofs.iter().any(Proof::is_accepted);
        let drills: Vec<_> = proofs.iter().filter_map(ProofReport::of).collect();
        let last = ProofReport::last_of_each(&drills);
        let proved = last.iter().any(|drill| drill.verdict == DrillVerdict::Proved);
        let mut grade = manifest.grade;
        let mut notes = manifest.notes.clone();
        if let Some(note) = self.diverged(&manifest)
            && grade > Grade::Diverged
        {
            grade = Grade::Diverged;
            notes.insert(0, note);
        }
        if grade.is_copy()
            && !accepted
            && let Some(note) = self.went_back(&manifest)
        {
            grade = Grade::Suspicious;
            notes.insert(0, note);
        }
        if accepted && grade.awaits_acceptance() {
            grade = Grade::Good;
        }
        Ok(Judged { manifest, grade, notes, accepted, proved })
    }

    /// What the agreements of that night say against the member that this set was taken of. What was mended before the
    /// set was made is past: somebody has asked again by then.
    fn diverged(&mut self, manifest: &Manifest) -> Option<String> {
        let etcd = manifest.etcd.as_ref()?;
        let vault = self.vault;
        let told = self.told.entry(manifest.night).or_insert_with(|| told_in(vault, manifest.night));
        let told = told.iter().filter(|told| told.cluster_id == etcd.cluster_id);
        let mended = told
            .clone()
            .filter(|told| told.agreement.state == AgreementState::Agreed && told.at <= manifest.made_at)
            .map(|told| told.at)
            .max();
        told.filter(|told| mended.is_none_or(|mended| told.at > mended)).find_map(|told| {
            let named = told.agreement.diverged().into_iter().find(|it| it.member_id == etcd.member_id)?;
            Some(format!(
                "its member {} ({}) holds something else than the others: {}, as {} has it",
                named.name,
                named.member_id,
                told.agreement.reason.as_deref().unwrap_or("their hashes differ"),
                told.by
            ))
        })
    }

    /// What speaks against it beside the newest earlier copy of its host that is held here. Its maker asks the same, but may
    /// have lost what it had: an etcd that was set up anew begins with nothing, on a host that remembers nothing. How much
    /// less there may be is for the maker to know.
    fn went_back(&self, manifest: &Manifest) -> Option<String> {
        let now = manifest.etcd.as_ref()?;
        let nights = self.vault.nights_of(&manifest.host).ok()?;
        let earlier = nights.into_iter().filter(|night| *night < manifest.night).rev();
        let sets = earlier.flat_map(|night| {
            self.vault.sets_of(&manifest.host, night).unwrap_or_default().into_iter().rev()
        });
        let copies = sets.filter(|set| set.role == Role::Etcd).filter_map(|set| {
            let manifest = self.vault.manifest(&set).ok()?;
            let counts = manifest.grade.is_copy()
                || self.vault.proofs(&set).is_ok_and(|proofs| proofs.iter().any(Proof::is_accepted));
            Some((set, manifest.etcd.filter(|_| counts)?))
        });
        let (set, before) = copies.into_iter().next()?;
        let doubts = plausible::doubts(&before, now, 0);
        (!doubts.is_empty()).then(|| format!("{} ({set})", doubts.join("; ")))
    }
}

/// What was said in a night of the members' agreement. A manifest that cannot be read says nothing.
fn told_in(vault: &Vault, night: Night) -> Vec<Told> {
    let sets = vault.sets_of_night(night).unwrap_or_default();
    let etcd = sets.into_iter().filter(|set| set.role == Role::Etcd);
    etcd.filter_map(|set| {
        let manifest = vault.manifest(&set).ok()?;
        let facts = manifest.etcd?;
        Some(Told {
            by: set,
            at: manifest.made_at,
            cluster_id: facts.cluster_id,
            agreement: facts.agreement?,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests;
