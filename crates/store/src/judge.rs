//! The grade in effect of a set: that of its manifest, lowered where a comparison of the members names its member or where it
//! went back behind an earlier set of this vault, and raised where an operator accepted it. Every decision uses this grade.

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

/// A set with the grade in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub manifest: Manifest,
    pub grade: Grade,
    /// Why the grade is not `good`, one line each.
    pub notes: Vec<String>,
    /// An operator accepted it.
    pub accepted: bool,
    /// A drill restored it, and no later drill on the same host failed.
    pub proved: bool,
}

impl Judged {
    /// Why it is not good; `None` where it is good.
    pub fn reason(&self) -> Option<String> {
        (self.grade != Grade::Good && !self.notes.is_empty()).then(|| self.notes.join("; "))
    }
}

/// Judges sets of one vault. The agreements of a night are read once.
#[derive(Debug)]
pub struct Judge<'a> {
    vault: &'a Vault,
    agreements: BTreeMap<Night, Vec<ReportedAgreement>>,
}

/// What one etcd host found when it compared the members.
#[derive(Debug)]
struct ReportedAgreement {
    by: SetId,
    at: Timestamp,
    cluster_id: String,
    agreement: Agreement,
}

impl Vault {
    /// The grade in effect, with everything that was found or reported about the set later.
    pub fn judge(&self, set: &SetId) -> Result<Judged, StoreError> {
        Judge::new(self).judge(set)
    }
}

impl<'a> Judge<'a> {
    pub fn new(vault: &'a Vault) -> Self {
        Self { vault, agreements: BTreeMap::new() }
    }

    pub fn judge(&mut self, set: &SetId) -> Result<Judged, StoreError> {
        let manifest = self.vault.manifest(set)?;
        // Proofs that cannot be read do not count.
        let proofs = self.vault.proofs(set).unwrap_or_else(|error| {
            tracing::warn!("the proofs of {set} are skipped: {}", nightshift_core::chain(&error));
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

    /// The comparison of that night that names this set's member as diverged. One from before the set was made does not count
    /// if the members were compared again in between, and agreed.
    fn diverged(&mut self, manifest: &Manifest) -> Option<String> {
        let etcd = manifest.etcd.as_ref()?;
        let vault = self.vault;
        let reports = self
            .agreements
            .entry(manifest.night)
            .or_insert_with(|| agreements_of(vault, manifest.night))
            .iter()
            .filter(|report| report.cluster_id == etcd.cluster_id);
        let agreed = reports
            .clone()
            .filter(|report| {
                report.agreement.state == AgreementState::Agreed && report.at <= manifest.made_at
            })
            .map(|report| report.at)
            .max();
        reports.filter(|report| agreed.is_none_or(|agreed| report.at > agreed)).find_map(|report| {
            let named = report.agreement.diverged().into_iter().find(|it| it.member_id == etcd.member_id)?;
            Some(format!(
                "its member {} ({}) has diverged from the others: {}, according to {}",
                named.name,
                named.member_id,
                report.agreement.reason.as_deref().unwrap_or("their hashes differ"),
                report.by
            ))
        })
    }

    /// Compares it with the newest earlier copy of its host in this vault. The origin host does so too, but may have lost its
    /// sets: a reinstalled host starts with an empty etcd and an empty vault. Only the origin host checks sizes, because it
    /// knows how much may be deleted in a night.
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

/// The agreements in the manifests of a night, as far as these can be read.
fn agreements_of(vault: &Vault, night: Night) -> Vec<ReportedAgreement> {
    let sets = vault.sets_of_night(night).unwrap_or_default();
    let etcd = sets.into_iter().filter(|set| set.role == Role::Etcd);
    etcd.filter_map(|set| {
        let manifest = vault.manifest(&set).ok()?;
        let facts = manifest.etcd?;
        Some(ReportedAgreement {
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
