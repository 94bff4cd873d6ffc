//! The etcd members of a night, as the sets in this vault describe them, and what was found when they were compared.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use nightshift_core::digest::Digest;
use nightshift_core::etcd_facts::{Agreement, AgreementState, EtcdFacts};
use nightshift_core::manifest::Manifest;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::text::Text;

use crate::layout::Vault;

/// What one etcd host found when it compared the members. Only members that are known count.
#[derive(Debug, Clone)]
pub(super) struct ReportedAgreement {
    pub by: SetId,
    pub at: Timestamp,
    pub agreement: Agreement,
}

#[derive(Debug, Default)]
pub(super) struct MembersOfNight {
    /// The etcd sets of the night.
    sets: Vec<(SetId, Timestamp, EtcdFacts)>,
    /// Cluster and member of each etcd host of the inventory, by its newest set. A host has one member, so that no host can
    /// add members that do not exist.
    known: Vec<(Text, Text)>,
    /// The number of etcd hosts in the inventory.
    hosts: usize,
}

impl MembersOfNight {
    pub fn read(vault: &Vault, night: Night) -> Self {
        let mut sets = Vec::new();
        let mut known = Vec::new();
        for host in &vault.hosts().etcd {
            let tonight = sets_of(vault, host, night);
            let newest = tonight.last().map(|(_, _, facts)| facts.clone());
            let newest = newest.or_else(|| newest_before(vault, host, night));
            known.extend(newest.map(|facts| (facts.cluster_id, facts.member_id)));
            sets.extend(tonight);
        }
        Self { sets, known, hosts: vault.hosts().etcd.len() }
    }

    /// The comparisons of this cluster's members. One that contradicts the sets is not among them: two sets with the same
    /// content are of members that do not differ.
    pub fn reports(&self, cluster_id: &str) -> Vec<ReportedAgreement> {
        let of_cluster = self.known.iter().filter(|(cluster, _)| *cluster == cluster_id);
        let known: BTreeSet<&str> = of_cluster.map(|(_, member)| member.as_str()).collect();
        let of_cluster = || self.sets.iter().filter(|(_, _, facts)| facts.cluster_id == cluster_id);
        let mut same_content: BTreeMap<Digest, BTreeSet<&str>> = BTreeMap::new();
        for (_, _, facts) in of_cluster() {
            same_content.entry(facts.raw_sha256).or_default().insert(&facts.member_id);
        }
        let reports = of_cluster().filter_map(|(by, at, facts)| {
            let reported = facts.agreement.as_ref()?;
            let agreement = match reported.state {
                AgreementState::Diverged => reported.among(&known, self.hosts),
                AgreementState::Agreed | AgreementState::Unknown => reported.clone(),
            };
            Some(ReportedAgreement { by: by.clone(), at: *at, agreement })
        });
        reports.filter(|report| !contradicts(&report.agreement, &same_content)).collect()
    }
}

/// Whether a comparison found different hashes in members whose sets are the same.
fn contradicts(agreement: &Agreement, same_content: &BTreeMap<Digest, BTreeSet<&str>>) -> bool {
    agreement.state == AgreementState::Diverged
        && same_content.values().any(|members| {
            let hashes: BTreeSet<u32> = members.iter().filter_map(|id| agreement.hash_of(id)).collect();
            hashes.len() > 1
        })
}

/// The etcd sets of one host and night that can be read, the first attempt first.
fn sets_of(vault: &Vault, host: &HostName, night: Night) -> Vec<(SetId, Timestamp, EtcdFacts)> {
    let sets = vault.sets_of(host, night).unwrap_or_default().into_iter();
    let etcd = sets.filter(|set| set.role == Role::Etcd);
    let facts = etcd.filter_map(|set| {
        let Manifest { made_at, etcd, .. } = vault.manifest(&set).ok()?;
        Some((set, made_at, etcd?))
    });
    facts.collect()
}

fn newest_before(vault: &Vault, host: &HostName, night: Night) -> Option<EtcdFacts> {
    let nights = vault.nights_of(host).unwrap_or_default().into_iter();
    let earlier = nights.filter(|earlier| *earlier < night).rev();
    earlier.filter_map(|earlier| sets_of(vault, host, earlier).pop()).map(|(_, _, facts)| facts).next()
}
