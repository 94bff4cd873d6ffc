//! What retention decides about the archives of this host on a remote: the same policy as for sets, by the archives' dates.

#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use nightshift_core::archive::ArchiveName;
use nightshift_core::chain;
use nightshift_core::kept::KeptNights;
use nightshift_core::name::{HostName, RemoteName};
use nightshift_core::outcome::{Grade, Verdict};
use nightshift_core::record::{LostCopies, Record};
use nightshift_core::retention::{Candidate, Decision, Policy, Reason, decide};
use nightshift_core::role::Role;
use nightshift_core::settings::{Remote, Settings};
use nightshift_ssh::{Sftp, SftpError};
use nightshift_store::StoreError;
use nightshift_store::records::Records;

use super::result;

/// The newest archives on a remote stay, even where the policy drops them.
const MIN_KEPT_THERE: u16 = 2;
/// The most files in the directory of a remote.
const MAX_ENTRIES: usize = 100_000;

/// What this host's records list about its archives on one remote.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Those that were verified there: their names there, and their own names.
    shipped: BTreeMap<String, String>,
    /// The own names of those from which etcd can be restored.
    with_etcd: BTreeSet<String>,
    /// What was found gone from remotes, or damaged there.
    lost: LostCopies,
    /// The result of each night.
    nights: BTreeMap<Date, Verdict>,
    /// The cluster has etcd hosts, so an archive without an etcd set restores no cluster.
    expects_etcd: bool,
}

impl Recorded {
    /// Blocks.
    pub fn read(settings: &Settings, remote: &RemoteName) -> Result<Self, StoreError> {
        let expects_etcd = settings.inventory.with_role(Role::Etcd).next().is_some();
        let mut recorded = Self { expects_etcd, ..Self::default() };
        let records = Records::new(settings.paths.records());
        for night in records.nights()? {
            match records.read(night) {
                Ok(record) => record.iter().for_each(|record| recorded.add(record, remote)),
                // An archive that only an unreadable record lists as shipped is kept.
                Err(error) => tracing::warn!("{}", chain(&error)),
            }
        }
        Ok(recorded)
    }

    /// An archive may be shipped in a later night than the one that packed it. Call it with the oldest night first.
    fn add(&mut self, record: &Record, remote: &RemoteName) {
        self.nights.extend(result(record));
        self.lost.add(record);
        self.with_etcd.extend(record.archives_with_etcd().map(str::to_owned));
        let verified = record.verified_on(remote);
        self.shipped
            .extend(verified.map(|shipment| (shipment.name_there().to_owned(), shipment.archive.clone())));
    }

    fn has_etcd(&self, remote: &RemoteName, there: &ArchiveName) -> bool {
        let there = there.to_string();
        let own = self.shipped.get(&there).filter(|_| !self.lost.contains(remote, &there));
        own.is_some_and(|own| self.with_etcd.contains(own))
    }

    /// What the night of each date is worth there. One without etcd there is worth less than any other, whatever its result.
    fn worth(&self, remote: &RemoteName, there: &[ArchiveName]) -> BTreeMap<Date, Verdict> {
        if !self.expects_etcd {
            return self.nights.clone();
        }
        let with_etcd = there.iter().filter(|name| self.has_etcd(remote, name)).map(|name| name.date);
        with_etcd.map(|date| (date, self.nights.get(&date).copied().unwrap_or(Verdict::Failed))).collect()
    }
}

/// Decides about the archives of this host that are on a remote, and returns them by date.
pub fn archives(
    remote: &Remote,
    mut there: Vec<ArchiveName>,
    recorded: &Recorded,
    kept: &KeptNights,
    today: Date,
) -> Vec<(ArchiveName, Decision)> {
    there.sort_by_key(|name| (name.night(), name.edition));
    let candidates: Vec<Candidate<()>> = there
        .iter()
        .map(|name| Candidate {
            host: name.host.clone(),
            series: (),
            night: name.night(),
            attempt: name.edition,
            keep: remote.keep,
            grade: Grade::Good,
            proved: false,
            awaits: false,
            accepted: false,
        })
        .collect();
    let nights = recorded.worth(&remote.name, &there);
    let policy = Policy { today, nights: &nights, retired: &BTreeSet::new(), kept };
    let decisions = decide(&candidates, &policy);
    let mut decided: Vec<_> = there.into_iter().zip(decisions).collect();
    for (_, decision) in decided.iter_mut().rev().take(MIN_KEPT_THERE.into()) {
        keep(decision, Reason::AmongNewestThere(MIN_KEPT_THERE));
    }
    if recorded.expects_etcd
        && let Some((_, decision)) =
            decided.iter_mut().rfind(|(name, _)| recorded.has_etcd(&remote.name, name))
    {
        keep(decision, Reason::NewestWithEtcd);
    }
    decided
}

/// Keeps an archive that the policy drops.
fn keep(decision: &mut Decision, reason: Reason) {
    if !decision.keep {
        *decision = Decision { keep: true, reason };
    }
}

/// The archives on a remote that pruning may remove: this host's own that its records list as shipped.
pub async fn own_archives(
    sftp: &Sftp,
    remote: &Remote,
    this: &HostName,
    recorded: &Recorded,
) -> Result<Vec<ArchiveName>, SftpError> {
    let listing = sftp.list(&remote.path, MAX_ENTRIES).await?;
    let names = listing.entries.iter().filter_map(|entry| entry.name.parse().ok());
    let own = |name: &ArchiveName| name.host == *this && recorded.shipped.contains_key(&name.to_string());
    Ok(names.filter(own).collect())
}
