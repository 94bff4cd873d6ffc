//! What records list about archives: what they contain, on which remotes they were verified, and which of them were lost there since.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rechecked, Record, Shipment};
use crate::name::RemoteName;
use crate::outcome::Grade;
use crate::set_path::SetId;

/// The archives that a later check found gone from a remote, or with other content there.
#[derive(Debug, Default)]
pub struct LostCopies(BTreeMap<RemoteName, BTreeSet<String>>);

impl LostCopies {
    /// Adds what was found in a night; call it with the oldest first. A copy that is shipped again or found intact is not lost.
    pub fn add(&mut self, record: &Record) {
        for shipment in record.shipped.iter().filter(|it| it.verified.is_some()) {
            self.remove(&shipment.remote, shipment.name_there());
        }
        for recheck in &record.rechecked {
            match recheck.result {
                Rechecked::Wrong(_) => {
                    self.0.entry(recheck.remote.clone()).or_default().insert(recheck.archive.clone());
                }
                Rechecked::Verified(_) => self.remove(&recheck.remote, &recheck.archive),
                Rechecked::Unchecked(_) => {}
            }
        }
    }

    fn remove(&mut self, remote: &RemoteName, there: &str) {
        if let Some(lost) = self.0.get_mut(remote) {
            lost.remove(there);
        }
    }

    /// Whether the archive of this name on the remote is lost.
    pub fn contains(&self, remote: &RemoteName, there: &str) -> bool {
        self.0.get(remote).is_some_and(|lost| lost.contains(there))
    }
}

impl Record {
    /// The remotes on which an archive with this etcd set was verified, and was not lost since.
    pub fn remotes_with(&self, set: &SetId, lost: &LostCopies) -> BTreeSet<&RemoteName> {
        let containing: Vec<&str> = self
            .archives
            .iter()
            .filter(|packed| packed.etcd.contains(set))
            .map(|packed| packed.archive.as_str())
            .collect();
        let there = |shipment: &&Shipment| {
            shipment.verified.is_some()
                && containing.contains(&shipment.archive.as_str())
                && !lost.contains(&shipment.remote, shipment.name_there())
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
