//! `nightshift nights --restore-points`: the nights with an etcd snapshot, and where it is, as far as this host knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use nightshift_core::name::{HostName, RemoteName};
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::proof::DrillVerdict;
use nightshift_core::record::{LostCopies, ProofReport, Record, SetReport};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::{Remote, Settings};
use nightshift_core::stage::Stage;
use nightshift_core::text::Text;
use nightshift_core::units::{bytes, local_time};
use nightshift_peers::location;
use nightshift_store::outbox::{Outbox, RemoteCopy};
use nightshift_store::records::Records;
use nightshift_store::{Judge, Vault};
use serde::Serialize;

use super::{CommandError, nights};
use crate::exit::Exit;
use crate::{config_file, out};

/// What is not known on this host.
const NOT_CHECKED: &str = "not checked";

/// A night from which etcd can be restored.
#[derive(Serialize)]
struct RestorePoint {
    night: Night,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<Text>,
    /// The best etcd set that this host knows of.
    set: SetId,
    grade: Grade,
    made_at: Timestamp,
    /// Of all sets of the night that this host had.
    bytes: u64,
    /// The masters that have the etcd set, as of that night; `None` if this host does not check it.
    masters: Option<BTreeSet<HostName>>,
    /// The remotes with an archive of this host that contains it, and when that was verified there last; `None` if this host ships none.
    remotes: Option<BTreeMap<RemoteName, Option<Timestamp>>>,
    /// The drill that decides about it; `None` if there was none.
    proof: Option<ProofReport>,
    /// Until when it stays in this vault; `None` if it is not here.
    stays: Option<String>,
}

pub fn run(config: &Path, json: bool) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let vault = Vault::of(&settings);
    let (records, exit) = nights::read_all(&Records::new(settings.paths.records()))?;
    let stays = nights::stays(&settings, &records)?;
    let pruned: BTreeSet<&str> =
        records.iter().flat_map(|record| &record.pruned).map(|pruned| pruned.what.as_str()).collect();
    let mut lost = LostCopies::default();
    records.iter().rev().for_each(|record| lost.add(record));
    let known = Known { settings: &settings, vault: &vault, pruned, lost, copies: copies(&settings) };
    let mut judge = Judge::new(&vault);
    let points: Vec<RestorePoint> = records
        .iter()
        .filter_map(|record| {
            let point = point(&known, &mut judge, record)?;
            Some(RestorePoint {
                stays: stays.etcd(record.night).filter(|_| vault.contains(&point.set)),
                ..point
            })
        })
        .collect();
    if json {
        out::print_json(&points)?;
        return Ok(exit);
    }
    let header = ["NIGHT", "TIME", "SIZE", "GRADE", "MASTERS", "REMOTES", "PROVED", "STAYS HERE"];
    out::print_table(&header, points.iter().map(|point| row(&settings, point)));
    Ok(exit)
}

/// What this host knows, beside the record of a night.
struct Known<'a> {
    settings: &'a Settings,
    vault: &'a Vault,
    /// What pruning has removed.
    pruned: BTreeSet<&'a str>,
    /// What was found gone from remotes, or damaged there.
    lost: LostCopies,
    copies: BTreeMap<RemoteName, Vec<RemoteCopy>>,
}

/// The archives on each remote. What cannot be read is not known.
fn copies(settings: &Settings) -> BTreeMap<RemoteName, Vec<RemoteCopy>> {
    let outbox = Outbox::new(settings.paths.outbox());
    let of = |remote: &Remote| {
        Some((remote.name.clone(), outbox.copies(&remote.name, &location(remote)).ok()?.copies))
    };
    settings.remotes.iter().filter_map(of).collect()
}

fn point(known: &Known<'_>, judge: &mut Judge<'_>, record: &Record) -> Option<RestorePoint> {
    let Known { settings, vault, .. } = known;
    let is_master = settings.roles().has(Role::Master);
    let mut stored: Vec<(bool, Grade, &SetReport, Timestamp)> = Vec::new();
    for report in record.sets.iter().filter(|it| it.set.role == Role::Etcd && it.fate.is_stored()) {
        let here = judge.judge(&report.set).ok();
        let grade = here.as_ref().map(|judged| judged.grade).or(report.grade);
        let Some(grade) = grade.filter(|grade| grade.is_copy()) else { continue };
        let made_at = here.as_ref().map_or(record.opened, |judged| judged.manifest.made_at);
        stored.push((here.is_some(), grade, report, made_at));
    }
    let there = |set: &SetId| -> BTreeSet<RemoteName> {
        record
            .remotes_with(set, &known.lost)
            .into_iter()
            .filter(|remote| !is_pruned(known, record, remote))
            .cloned()
            .collect()
    };
    stored.retain(|(is_here, _, report, _)| *is_here || !there(&report.set).is_empty());
    let (is_here, grade, SetReport { set, .. }, made_at) = stored
        .into_iter()
        .max_by_key(|(is_here, grade, report, _)| (*is_here, *grade, report.set.attempt))?;
    let own = is_here.then(|| settings.this.clone());
    let drills: Vec<ProofReport> = if is_here {
        vault.proofs(set).iter().filter_map(ProofReport::of).collect()
    } else {
        record.proofs.iter().filter(|proof| proof.set == *set).cloned().collect()
    };
    Some(RestorePoint {
        night: record.night,
        label: record.backup.as_ref().and_then(|backup| backup.label.clone()),
        set: set.clone(),
        grade,
        made_at,
        bytes: record.sets.iter().filter(|report| report.fate.is_stored()).map(|report| report.bytes).sum(),
        masters: is_master.then(|| record.masters_with(set).cloned().chain(own).collect()),
        remotes: record.planned.contains(&Stage::ShipArchive).then(|| {
            let verified = |remote| (last_verified(known, record, &remote), remote);
            there(set).into_iter().map(verified).map(|(at, remote)| (remote, at)).collect()
        }),
        proof: ProofReport::decisive(&drills).cloned(),
        stays: None,
    })
}

/// Whether none of a night's archives is on a remote any more: this host has removed it, or it was lost.
fn is_pruned(known: &Known<'_>, record: &Record, remote: &RemoteName) -> bool {
    let Some(remote) = known.settings.remotes.iter().find(|it| it.name == *remote) else { return false };
    let is_gone = |name: &str| {
        known.lost.contains(&remote.name, name)
            || known.pruned.contains(format!("{}:{}", remote.name, remote.file(name)).as_str())
    };
    record.verified_on(&remote.name).all(|shipment| is_gone(shipment.name_there()))
}

/// When an archive of this night was verified on a remote last.
fn last_verified(known: &Known<'_>, record: &Record, remote: &RemoteName) -> Option<Timestamp> {
    let of_night = |name: &str| record.verified_on(remote).any(|shipment| shipment.name_there() == name);
    known.copies.get(remote)?.iter().filter(|copy| of_night(&copy.archive)).map(|copy| copy.verified).max()
}

fn row(settings: &Settings, point: &RestorePoint) -> Vec<String> {
    let unchecked = || NOT_CHECKED.to_owned();
    let proved = point.proof.as_ref().map_or_else(unchecked, |proof| match proof.verdict {
        DrillVerdict::Proved => format!("by {}", proof.by),
        DrillVerdict::NotRestorable => "does not restore".to_owned(),
        DrillVerdict::NotProved => "not proved".to_owned(),
    });
    let label = point.label.as_ref().map(|label| format!(" {label}")).unwrap_or_default();
    vec![
        format!("{}{label}", point.night),
        local_time(point.made_at, &settings.window.zone),
        bytes(point.bytes),
        point.grade.to_string(),
        point.masters.as_ref().map_or_else(unchecked, names),
        point.remotes.as_ref().map_or_else(unchecked, |remotes| {
            let zone = &settings.window.zone;
            let name = |(remote, at): (&RemoteName, &Option<Timestamp>)| match at {
                Some(at) => format!("{remote} {}", at.to_zoned(zone.clone()).date()),
                None => remote.to_string(),
            };
            names(&remotes.iter().map(name).collect())
        }),
        proved,
        point.stays.clone().unwrap_or_else(|| "not here".to_owned()),
    ]
}

fn names<T: ToString>(names: &BTreeSet<T>) -> String {
    let names: Vec<String> = names.iter().map(T::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}
