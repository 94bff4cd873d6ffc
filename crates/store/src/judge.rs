//! The grade in effect of a set: that of its manifest, lowered where a comparison of the members names its member, where it went back
//! behind an earlier set of this vault or where this host's copy is damaged, and raised where an operator accepted it. Every
//! decision uses this grade.

mod members;

use std::collections::{BTreeMap, BTreeSet};

use nightshift_core::etcd_facts::{Agreement, AgreementState};
use nightshift_core::manifest::Manifest;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::plausible;
use nightshift_core::proof::{DrillVerdict, Proof};
use nightshift_core::record::ProofReport;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::text::summary;

use self::members::MembersOfNight;
use crate::fault::StoreError;
use crate::layout::Vault;

/// A set with the grade in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub manifest: Manifest,
    pub grade: Grade,
    /// Why the grade is not `good`, one line each.
    pub notes: Vec<String>,
    /// It is suspicious by itself, not only by the report of another host: the sets of its host are kept until an operator accepts it.
    pub awaits: bool,
    /// An operator accepted it.
    pub accepted: bool,
    /// A drill restored it, and no later drill on the same host failed.
    pub proved: bool,
}

impl Judged {
    /// Why it is not good; `None` where it is good.
    pub fn reason(&self) -> Option<String> {
        (self.grade != Grade::Good && !self.notes.is_empty()).then(|| summary(&self.notes))
    }
}

/// Judges sets of one vault. The agreements of a night are read once.
#[derive(Debug)]
pub struct Judge<'a> {
    vault: &'a Vault,
    nights: BTreeMap<Night, MembersOfNight>,
}

/// How far the operators' acceptances of a set reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Acceptance {
    None,
    /// Accepted on its origin host only. This lifts what that host found, not what this host found.
    OfOrigin,
    /// Accepted on this host or on a master.
    Full,
}

impl Vault {
    /// The grade in effect, with everything that was found or reported about the set later.
    pub fn judge(&self, set: &SetId) -> Result<Judged, StoreError> {
        Judge::new(self).judge(set)
    }

    fn acceptance(&self, manifest: &Manifest, proofs: &[Proof]) -> Acceptance {
        let accepted = proofs.iter().filter(|proof| proof.is_accepted()).map(|proof| {
            if self.hosts().deciding.contains(&proof.by) {
                Acceptance::Full
            } else if proof.by == manifest.host {
                Acceptance::OfOrigin
            } else {
                Acceptance::None
            }
        });
        accepted.max().unwrap_or(Acceptance::None)
    }
}

impl<'a> Judge<'a> {
    pub fn new(vault: &'a Vault) -> Self {
        Self { vault, nights: BTreeMap::new() }
    }

    pub fn judge(&mut self, set: &SetId) -> Result<Judged, StoreError> {
        let manifest = self.vault.manifest(set)?;
        let proofs = self.vault.proofs(set);
        let drills: Vec<_> = proofs.iter().filter_map(ProofReport::of).collect();
        let last = ProofReport::last_of_each(&drills);
        let proved = last.iter().any(|drill| drill.verdict == DrillVerdict::Proved);
        let mut notes: Vec<String> = manifest.notes.iter().map(ToString::to_string).collect();
        let damage = self.vault.damage(set).map(|damage| {
            format!("this host's copy is damaged, found {}: {}", damage.at, damage.findings.summary())
        });
        if let Some(note) = manifest.missing_etcd_data().map(str::to_owned).or(damage) {
            notes.insert(0, note);
            return Ok(Judged { manifest, grade: Grade::Bad, notes, awaits: false, accepted: false, proved });
        }
        let acceptance = self.vault.acceptance(&manifest, &proofs);
        let mut grade = manifest.grade;
        if grade.awaits_acceptance() && acceptance != Acceptance::None {
            grade = Grade::Good;
        }
        let mut awaits = grade == Grade::Suspicious;
        if let Some((found, note)) = self.disagreement(&manifest).filter(|(found, _)| grade > *found) {
            if acceptance != Acceptance::Full {
                grade = found;
            }
            notes.insert(0, note);
        }
        if grade.is_copy()
            && acceptance != Acceptance::Full
            && let Some(note) = self.went_back(&manifest)
        {
            (grade, awaits) = (Grade::Suspicious, true);
            notes.insert(0, note);
        }
        awaits &= grade == Grade::Suspicious;
        let accepted = match acceptance {
            Acceptance::None => false,
            Acceptance::OfOrigin => manifest.grade.awaits_acceptance() && grade == Grade::Good,
            Acceptance::Full => true,
        };
        Ok(Judged { manifest, grade, notes, awaits, accepted, proved })
    }

    /// The comparisons of that night that name this set's member as diverged, as a note, and the grade that they give. One from
    /// before the set was made does not count if the members were compared again in between, and agreed; the set's own host
    /// cannot clear itself of what another host found.
    ///
    /// A single other host is not believed alone: it could make every set but its own count as diverged.
    fn disagreement(&mut self, manifest: &Manifest) -> Option<(Grade, String)> {
        let etcd = manifest.etcd.as_ref()?;
        let reports = self.members(manifest.night).reports(&etcd.cluster_id);
        let cleared = |by: &SetId, at| {
            reports.iter().any(|later| {
                later.agreement.state == AgreementState::Agreed
                    && at < later.at
                    && later.at <= manifest.made_at
                    && (later.by.host != manifest.host || by.host == manifest.host)
            })
        };
        let against = reports.iter().filter(|report| !cleared(&report.by, report.at)).filter_map(|report| {
            let named = report.agreement.diverged().into_iter().find(|it| it.member_id == etcd.member_id)?;
            Some((report, format!("its member {} ({})", named.name, named.member_id)))
        });
        let against: Vec<_> = against.collect();
        let (report, member) = against.first()?;
        let hosts: BTreeSet<&HostName> = against.iter().map(|(report, _)| &report.by.host).collect();
        let is_confirmed = hosts.len() > 1 || hosts.contains(&manifest.host);
        let reason = report.agreement.reason.as_deref().unwrap_or("their hashes differ");
        let by = &report.by;
        Some(if is_confirmed {
            (Grade::Diverged, format!("{member} has diverged from the others: {reason}, according to {by}"))
        } else {
            let note = format!("{member} has diverged from the others: {reason}, according to {by} alone");
            (Grade::Suspicious, note)
        })
    }

    /// The comparison of the members in the night of an etcd set. If several hosts compared them, the worst definite result
    /// counts.
    pub fn agreement(&mut self, manifest: &Manifest) -> Option<Agreement> {
        let etcd = manifest.etcd.as_ref()?;
        let reports = self.members(manifest.night).reports(&etcd.cluster_id);
        let agreements = reports.into_iter().map(|report| report.agreement);
        agreements.max_by_key(|agreement| match agreement.state {
            AgreementState::Unknown => 0,
            AgreementState::Agreed => 1,
            AgreementState::Diverged => 2,
        })
    }

    fn members(&mut self, night: Night) -> &MembersOfNight {
        let vault = self.vault;
        self.nights.entry(night).or_insert_with(|| MembersOfNight::read(vault, night))
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
            let accepted = || self.vault.acceptance(&manifest, &self.vault.proofs(&set)) != Acceptance::None;
            let counts = manifest.missing_etcd_data().is_none()
                && manifest.has_etcd_data()
                && (manifest.grade.is_copy() || accepted());
            Some((set, manifest.etcd.filter(|_| counts)?))
        });
        let (set, before) = copies.into_iter().next()?;
        let doubts = plausible::doubts(&before, now, 0);
        (!doubts.is_empty()).then(|| format!("{} ({set})", doubts.join("; ")))
    }
}

#[cfg(test)]
mod tests;
