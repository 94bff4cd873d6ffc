//! What a record lists about the archives of its night: what they contain, and on which remotes they were verified.

use std::collections::BTreeSet;

use super::{Record, Shipment};
use crate::name::RemoteName;
use crate::outcome::Grade;
use crate::set_path::SetId;

impl Record {
    /// The remotes on which an archive with this etcd set was verified.
    pub fn remotes_with(&self, set: &SetId) -> BTreeSet<&RemoteName> {
        let containing: Vec<&str> = self
            .archives
            .iter()
            .filter(|packed| packed.etcd.contains(set))
            .map(|packed| packed.archive.as_str())
            .collect();
        let there = |shipment: &&Shipment| {
            shipment.verified.is_some() && containing.contains(&shipment.archive.as_str())
        };
        self.shipped.iter().filter(there).map(|shipment| &shipment.remote).collect()
    }

    /// What was verified on a remote.
    pub fn verified_on(&self, remote: &RemoteName) -> impl Iterator<Item = &Shipment> {
        self.shipped.iter().filter(move |it| it.remote == *remote && it.verified.is_some())
    }

    /// The archives from which etcd can be restored. An archive contains bad sets too, as evidence.
    pub fn archives_with_etcd(&self) -> impl Iterator<Item = &str> {
        let is_copy = |set: &SetId| {
            let grade = self.sets.iter().find(|report| report.set == *set).and_then(|report| report.grade);
            grade.is_none_or(Grade::is_copy)
        };
        let with_etcd = self.archives.iter().filter(move |packed| packed.etcd.iter().any(is_copy));
        with_etcd.map(|packed| packed.archive.as_str())
    }
}
