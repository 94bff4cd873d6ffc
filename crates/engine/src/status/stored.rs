//! What is stored on this host, as facts for metrics: the last good set of each host, and what it contains.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nightshift_core::certificate::first_expiry;
use nightshift_core::chain;
use nightshift_core::manifest::Manifest;
use nightshift_core::name::{HostName, RemoteName};
use nightshift_core::night::{Night, is_from_the_future};
use nightshift_core::outcome::Grade;
use nightshift_core::record::{LostCopies, Record};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_core::status::{ExpiringCertificate, LastDrill, LastSet, LastSnapshot, RemoteState, Space};
use nightshift_store::outbox::Outbox;
use nightshift_store::records::Records;
use nightshift_store::{Judge, Vault, restorable, space as file_system};

use super::lost_copies;

/// How many sets of one host and role are read to find a good one.
const MAX_SETS: usize = 30;
/// How many certificates of one host have a metric, and how long the paths of those are.
const MAX_CERTIFICATES: usize = 50;
const MAX_PATH_LEN: usize = 200;

#[derive(Default)]
pub(super) struct Stored {
    pub sets: Vec<LastSet>,
    pub awaiting: BTreeMap<Role, u32>,
    pub snapshots: Vec<LastSnapshot>,
    pub drills: Vec<LastDrill>,
    pub certificates: Vec<ExpiringCertificate>,
}

impl Stored {
    /// What cannot be read counts as absent, with a warning in the journal: the metric then ages, which is what alerts look at.
    pub fn read(
        settings: &Settings,
        vault: &Vault,
        records: &Records,
        awaiting: &[SetId],
        now: Timestamp,
    ) -> Self {
        let mut stored = Self::default();
        let mut judge = Judge::new(vault);
        let mut copies = Copies { settings, records, nights: BTreeMap::new(), lost: None };
        let is_master = settings.roles().has(Role::Master);
        for host in settings.inventory.hosts().filter(|host| host.expected) {
            if !is_master && host.name != settings.this {
                continue;
            }
            let mut certificates = BTreeMap::new();
            for role in host.roles.iter() {
                let sets = vault.sets_of_host(&host.name, role);
                let (good, awaits) = last_good(vault, &mut judge, &sets, now);
                let awaits = awaits || awaiting.iter().any(|it| it.host == host.name && it.role == role);
                *stored.awaiting.entry(role).or_default() += u32::from(awaits);
                if role == Role::Etcd {
                    stored.drills.extend(last_drill(vault, &host.name, &sets, now));
                }
                let Some(manifest) = good else { continue };
                stored.sets.push(LastSet {
                    host: host.name.clone(),
                    role,
                    made_at: manifest.made_at,
                    bytes: manifest.total_bytes(),
                });
                stored.snapshots.extend(snapshot(&manifest, &mut copies));
                if role != Role::Node {
                    certificates.extend(expiries(vault, &manifest, now));
                }
            }
            let host = &host.name;
            stored.certificates.extend(
                certificates
                    .into_iter()
                    .take(MAX_CERTIFICATES)
                    .map(|(path, not_after)| ExpiringCertificate { host: host.clone(), path, not_after }),
            );
        }
        stored
    }
}

/// The newest good one of a host's sets of one role, and whether a newer one has to be reviewed. A set from the future does not count:
/// by its date the host's backups would not age for years. Nor does one whose data is gone.
fn last_good(
    vault: &Vault,
    judge: &mut Judge<'_>,
    sets: &[SetId],
    now: Timestamp,
) -> (Option<Manifest>, bool) {
    let mut awaits = false;
    let past = sets.iter().rev().filter(|set| !set.night.is_from_the_future(now));
    for set in past.take(MAX_SETS) {
        match judge.judge(set) {
            Ok(judged) if is_from_the_future(judged.manifest.made_at, now) => {}
            Ok(judged) if vault.lacks_data(&judged.manifest).is_some() => {}
            Ok(judged) if judged.grade == Grade::Good => return (Some(judged.manifest), awaits),
            Ok(judged) => awaits |= judged.grade.awaits_acceptance(),
            Err(error) => tracing::debug!("{set} does not count in the metrics: {}", chain(&error)),
        }
    }
    (None, awaits)
}

fn snapshot(manifest: &Manifest, copies: &mut Copies<'_>) -> Option<LastSnapshot> {
    let facts = manifest.etcd.as_ref()?;
    Some(LastSnapshot {
        host: manifest.host.clone(),
        made_at: manifest.made_at,
        revision: facts.last_revision(),
        keys: facts.snapshot.as_ref().map(|snapshot| snapshot.entries),
        bytes: facts.raw_size,
        copies: copies.of(&manifest.id()),
    })
}

/// Counts the copies of etcd sets, by the records of their nights.
struct Copies<'a> {
    settings: &'a Settings,
    records: &'a Records,
    nights: BTreeMap<Night, Option<Record>>,
    /// What was lost since the oldest of these nights.
    lost: Option<(Night, LostCopies)>,
}

impl Copies<'_> {
    /// The masters, this one included, and the remotes; `None` if this host does not know them.
    fn of(&mut self, set: &SetId) -> Option<u64> {
        if self.settings.inventory.with_role(Role::Master).next().is_none() {
            return Some(1);
        }
        if !self.settings.roles().has(Role::Master) {
            return None;
        }
        let records = self.records;
        let (_, lost) = match self.lost.take().filter(|(since, _)| *since <= set.night) {
            Some(lost) => self.lost.insert(lost),
            None => self.lost.insert((set.night, lost_copies::since(records, set.night))),
        };
        let record = self.nights.entry(set.night).or_insert_with(|| records.read(set.night).ok().flatten());
        let elsewhere =
            |record: &Record| record.masters_with(set).count() + record.remotes_with(set, lost).len();
        Some(1 + record.as_ref().map_or(0, elsewhere) as u64)
    }
}

/// The newest proof of a drill of the host's etcd sets.
fn last_drill(vault: &Vault, host: &HostName, sets: &[SetId], now: Timestamp) -> Option<LastDrill> {
    let mut last: Option<(Timestamp, LastDrill)> = None;
    let mut proved = None;
    for proof in sets.iter().rev().take(MAX_SETS).flat_map(|set| vault.proofs(set)) {
        let Some(drill) = proof.drill().filter(|_| !is_from_the_future(proof.at, now)) else { continue };
        if proof.is_proved() {
            proved = proved.max(Some(proof.at));
        }
        if last.as_ref().is_none_or(|(at, _)| *at < proof.at) {
            let (host, took_ms) = (host.clone(), drill.took_ms());
            last = Some((proof.at, LastDrill { host, verdict: drill.verdict, took_ms, proved: None }));
        }
    }
    last.map(|(_, drill)| LastDrill { proved, ..drill })
}

/// When the certificates of a set expire, by their paths. They are in small files, as keys are; nothing else of them is used.
fn expiries(vault: &Vault, manifest: &Manifest, now: Timestamp) -> Vec<(String, Timestamp)> {
    let texts = match restorable::texts(&vault.directory(&manifest.id()), manifest) {
        Ok(texts) => texts,
        Err(error) => {
            tracing::debug!("the certificates of {} have no metric: {}", manifest.id(), chain(&error));
            return Vec::new();
        }
    };
    let named = texts.into_iter().filter(|(path, _)| is_plain(path));
    named.filter_map(|(path, bytes)| Some((path, first_expiry(&bytes, now)?))).collect()
}

/// Whether a path can be the value of a label: another host chose it.
fn is_plain(path: &str) -> bool {
    path.len() <= MAX_PATH_LEN
        && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-@".contains(&byte))
}

pub(super) fn space(settings: &Settings) -> Option<Space> {
    let room = file_system::room(&settings.vault.path).ok()?;
    // Some file systems do not know their size.
    (room.total > 0).then_some(Space { total: room.total, free: room.free })
}

/// What each remote has. Only masters ship.
pub(super) fn remotes(settings: &Settings) -> Vec<RemoteState> {
    if !settings.roles().has(Role::Master) {
        return Vec::new();
    }
    let outbox = Outbox::new(settings.paths.outbox());
    let archives = outbox.archives().unwrap_or_default();
    let state = |name: &RemoteName| {
        let last = outbox.last_delivery(name);
        let is_there =
            |archive| outbox.delivery(archive, name).is_some_and(|delivery| delivery.verified.is_some());
        RemoteState {
            name: name.clone(),
            shipped: last.as_ref().map(|last| last.at),
            bytes: last.map(|last| last.bytes),
            waiting: archives.iter().filter(|archive| !is_there(*archive)).count() as u64,
        }
    };
    settings.remotes.iter().map(|remote| state(&remote.name)).collect()
}
