//! Which of several sets is used where one is enough.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use nightshift_core::chain;
use nightshift_core::manifest::Manifest;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;

use crate::fault::StoreError;
use crate::judge::{Judge, Judged};
use crate::layout::Vault;

/// The best of the sets of a night: the best grade, then the first host, then the highest attempt.
pub fn best<T>(sets: impl IntoIterator<Item = T>, of: impl Fn(&T) -> (SetId, Grade)) -> Option<T> {
    sets.into_iter().max_by_key(|set| {
        let (SetId { host, attempt, .. }, grade) = of(set);
        (grade, Reverse(host), attempt)
    })
}

pub fn best_judged(sets: impl IntoIterator<Item = Judged>) -> Option<Judged> {
    best(sets, |judged| (judged.manifest.id(), judged.grade))
}

impl Vault {
    /// The best set of a host, role and night. What cannot be read is skipped with a warning.
    pub fn best(&self, host: &HostName, night: Night, role: Role) -> Option<Judged> {
        let (judged, unreadable) = self.judged(host, night, role);
        for error in unreadable {
            tracing::warn!("a set of {host} of night {night} is skipped: {}", chain(&error));
        }
        best_judged(judged)
    }

    /// The sets of a host, role and night, and why others cannot be read: in one case all of them, because their directory
    /// cannot be. One that cannot be read (newer format, damaged, just removed) does not hide the others.
    pub fn judged(&self, host: &HostName, night: Night, role: Role) -> (Vec<Judged>, Vec<StoreError>) {
        let sets = match self.sets_of(host, night) {
            Ok(sets) => sets,
            Err(error) => return (Vec::new(), vec![error]),
        };
        let mut judge = Judge::new(self);
        let (mut judged, mut unreadable) = (Vec::new(), Vec::new());
        for set in sets.into_iter().filter(|set| set.role == role) {
            match judge.judge(&set) {
                Ok(set) => judged.push(set),
                Err(error) => unreadable.push(error),
            }
        }
        (judged, unreadable)
    }

    /// The best set of each host in a night, in the order of hosts.
    pub fn best_of_hosts(&self, night: Night, role: Role) -> Result<Vec<Judged>, StoreError> {
        let sets = self.sets_of_night(night)?.into_iter().filter(|set| set.role == role);
        let hosts: BTreeSet<HostName> = sets.map(|set| set.host).collect();
        Ok(hosts.iter().filter_map(|host| self.best(host, night, role)).collect())
    }

    /// The best copy of the newest night in which one of these hosts has one.
    pub fn newest_copy(&self, hosts: &[HostName], role: Role) -> Result<Option<Judged>, StoreError> {
        let sets = hosts.iter().flat_map(|host| self.sets_of_host(host, role));
        let nights: BTreeSet<Night> = sets.map(|set| set.night).collect();
        for night in nights.into_iter().rev() {
            let mut copies = self.best_of_hosts(night, role)?;
            copies.retain(|set| set.grade.is_copy() && hosts.contains(&set.manifest.host));
            if !copies.is_empty() {
                return Ok(best_judged(copies));
            }
        }
        Ok(None)
    }

    /// The newest set of a host and role from an earlier night whose files are as the manifest describes them.
    pub fn previous(
        &self,
        host: &HostName,
        before: Night,
        role: Role,
    ) -> Result<Option<Manifest>, StoreError> {
        self.earlier(host, before, role, |grade| grade.is_copy() || grade == Grade::Suspicious)
    }

    /// The newest set of a host and role from an earlier night with a wanted grade.
    pub fn earlier(
        &self,
        host: &HostName,
        before: Night,
        role: Role,
        wanted: impl Fn(Grade) -> bool,
    ) -> Result<Option<Manifest>, StoreError> {
        for night in self.nights_of(host)?.into_iter().rev().filter(|night| *night < before) {
            if let Some(judged) = self.best(host, night, role)
                && wanted(judged.grade)
            {
                return Ok(Some(judged.manifest));
            }
        }
        Ok(None)
    }
}
