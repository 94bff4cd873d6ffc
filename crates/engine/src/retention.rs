//! What retention decides about the copies of this host, as pruning does it and `prune --dry-run` shows it. Changes nothing.

mod archives;
mod sent;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use nightshift_core::chain;
use nightshift_core::manifest::ManifestError;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::outcome::{Grade, Verdict};
use nightshift_core::record::Record;
use nightshift_core::retention::{self, Candidate, Decision, Keep, Policy, decide};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_store::records::Records;
use nightshift_store::{Judge, Judged, Listed, StoreError, Vault, kept};

pub use archives::{Recorded, archives, own_archives};
pub use sent::{over_limit, shipped_reason};

/// The decisions about the sets of a vault.
#[derive(Debug, Default)]
pub struct DecidedSets {
    pub sets: Vec<(SetId, Decision)>,
    /// What cannot be listed or judged. It is never removed.
    pub unreadable: Vec<String>,
}

/// Decides about every set of this host's vault, as of the night of `today`. Damaged sets cannot be judged, and are never removed.
/// Those of a newer format are kept as long as others. Blocks.
pub fn sets(settings: &Settings, vault: &Vault, today: Date) -> Result<DecidedSets, StoreError> {
    let mut decided = DecidedSets::default();
    let (mut sets, mut candidates) = (Vec::new(), Vec::new());
    let mut retired: BTreeSet<HostName> = BTreeSet::new();
    let mut judge = Judge::new(vault);
    let Listed { sets: stored, unlisted } = vault.list()?;
    decided.unreadable.extend(unlisted.iter().map(|error| chain(error)));
    for set in stored {
        if settings.inventory.get(&set.host).is_none() {
            retired.insert(set.host.clone());
        }
        let (grade, proved, awaits, accepted) = match judge.judge(&set) {
            // A set that has lost its data must not count as the last good one, for which older ones go.
            Ok(judged) if vault.lacks_data(&judged.manifest).is_some() => {
                (Grade::Bad, judged.proved, judged.awaits, judged.accepted)
            }
            Ok(Judged { grade, proved, awaits, accepted, .. }) => (grade, proved, awaits, accepted),
            // This version cannot use it as a copy, and its directory says how old it is.
            Err(StoreError::Manifest { source: ManifestError::Newer(_), .. }) => {
                (Grade::Bad, false, false, false)
            }
            Err(error) => {
                decided.unreadable.push(chain(&error));
                continue;
            }
        };
        candidates.push(Candidate { grade, proved, awaits, accepted, ..unjudged(settings, &set) });
        sets.push(set);
    }
    let nights = verdicts(&Records::new(settings.paths.records()))?;
    let kept = kept::read(&settings.paths.kept())?;
    let policy = Policy { today, nights: &nights, retired: &retired, kept: &kept };
    decided.sets = sets.into_iter().zip(decide(&candidates, &policy)).collect();
    Ok(decided)
}

/// A set before its judgement: it counts as bad.
fn unjudged(settings: &Settings, set: &SetId) -> Candidate<Role> {
    let SetId { host, night, role, attempt } = set.clone();
    Candidate {
        host,
        series: role,
        night,
        attempt,
        keep: keep_of(settings, role),
        grade: Grade::Bad,
        proved: false,
        awaits: false,
        accepted: false,
    }
}

/// The etcd sets that an operator has to review: until they are accepted, no set of their hosts is removed. Sets of files are not
/// compared with earlier ones, so none of them is suspicious. What cannot be read is skipped: pruning reports it. Blocks.
pub fn awaiting(settings: &Settings, vault: &Vault) -> Result<Vec<SetId>, StoreError> {
    let mut judge = Judge::new(vault);
    let stored = vault.list()?.sets.into_iter().filter(|set| set.role == Role::Etcd);
    let judged = stored.filter_map(|set| {
        let Judged { grade, proved, awaits, accepted, .. } = judge.judge(&set).ok()?;
        Some(Candidate { grade, proved, awaits, accepted, ..unjudged(settings, &set) })
    });
    let candidates: Vec<_> = judged.collect();
    let set = |it: &Candidate<Role>| SetId {
        host: it.host.clone(),
        night: it.night,
        role: it.series,
        attempt: it.attempt,
    };
    Ok(retention::awaiting(&candidates).map(set).collect())
}

const fn keep_of(settings: &Settings, role: Role) -> Keep {
    if matches!(role, Role::Etcd) { settings.vault.keep_etcd } else { settings.vault.keep }
}

/// The result of each recorded night. Blocks.
fn verdicts(records: &Records) -> Result<BTreeMap<Date, Verdict>, StoreError> {
    let mut verdicts = BTreeMap::new();
    for night in records.nights()? {
        // Without its record, a night counts like one whose result is unknown.
        match records.read(night) {
            Ok(record) => verdicts.extend(record.as_ref().and_then(result)),
            Err(error) => tracing::warn!("{}", chain(&error)),
        }
    }
    Ok(verdicts)
}

/// The result of a scheduled night that has closed.
fn result(record: &Record) -> Option<(Date, Verdict)> {
    let closed = record.closed.as_ref().filter(|_| !record.night.is_extra())?;
    Some((record.night.date, closed.verdict))
}

/// The date by which pruning would decide now.
pub fn today(settings: &Settings, now: Timestamp) -> Date {
    settings.window.open_at(now).unwrap_or_else(|| settings.window.today(now))
}

/// Until when the policy keeps the sets of a night that are stored here. The last good set of a host stays in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stay {
    /// Its etcd sets; `None` if there are none here, or the next pruning removes them.
    pub etcd: Option<Date>,
    /// Its other sets.
    pub files: Option<Date>,
    /// The policy drops its etcd sets, and the next pruning keeps one of them nevertheless: as the last good set of its host, or because
    /// a suspicious set waits for acceptance.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub etcd_not_pruned: bool,
    /// The same for one of its other sets.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub files_not_pruned: bool,
}

/// For each night with sets in this vault, until when they stay, by the results in these records. Blocks.
pub fn stays(
    settings: &Settings,
    vault: &Vault,
    records: &[Record],
    now: Timestamp,
) -> Result<BTreeMap<Night, Stay>, StoreError> {
    let today = today(settings, now);
    let sets = vault.sets()?;
    let nights = records.iter().filter_map(result).collect();
    let dates: BTreeSet<Date> = sets.iter().map(|set| set.night.date).collect();
    let of = |role: Role| retention::stays(&dates, keep_of(settings, role), &nights, today);
    let (etcd, files) = (of(Role::Etcd), of(Role::Node));
    let mut stays: BTreeMap<Night, Stay> = BTreeMap::new();
    let mut dropped = BTreeSet::new();
    for set in sets {
        let stay = stays.entry(set.night).or_default();
        let (until, by_policy) =
            if set.role == Role::Etcd { (&mut stay.etcd, &etcd) } else { (&mut stay.files, &files) };
        *until = by_policy.get(&set.night.date).copied();
        if until.is_none() {
            dropped.insert(set);
        }
    }
    // The sets are judged only where that can change something: it reads each manifest.
    if dropped.is_empty() {
        return Ok(stays);
    }
    let decided = self::sets(settings, vault, today)?.sets.into_iter();
    for (set, _) in decided.filter(|(set, decision)| decision.keep && dropped.contains(set)) {
        let stay = stays.entry(set.night).or_default();
        let not_pruned =
            if set.role == Role::Etcd { &mut stay.etcd_not_pruned } else { &mut stay.files_not_pruned };
        *not_pruned = true;
    }
    Ok(stays)
}
