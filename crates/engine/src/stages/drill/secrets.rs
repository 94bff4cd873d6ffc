//! Whether tonight's encrypted values can be decrypted with the keys in the masters' sets. A drill on a master finds that out by
//! the way; after a drill on a host without these sets, and without a drill, each master checks its own copy.

use std::fs::create_dir_all;

use nightshift_core::chain;
use nightshift_core::manifest::Manifest;
use nightshift_core::name::HostName;
use nightshift_core::outcome::Outcome;
use nightshift_core::proof::DrillVerdict;
use nightshift_core::record::{Record, Step};
use nightshift_core::role::Role;
use nightshift_core::secrets::SecretsReport;
use nightshift_core::set_path::SetId;
use nightshift_etcd::trial::secrets::{self, MasterKeys};
use nightshift_store::packing::snapshot_of;
use nightshift_store::spool::spool;
use nightshift_store::{Judged, StoreError, best_judged, open_below, space};

use crate::context::{StageContext, StageEnd};
use crate::drill::job::min_free;
use crate::drill::master_keys;

/// The end of the stage, degraded if secrets of tonight would not be readable after a restore.
pub async fn judge(ctx: &StageContext, end: StageEnd) -> Result<StageEnd, StoreError> {
    let Some(set) = ctx.offload(copy_to_check).await else { return Ok(end) };
    let known = ctx.record.look(|record| record.and_then(|record| known(ctx, record, &set.manifest.id())));
    let report = match known {
        Some(report) => report,
        None => {
            let manifest = set.manifest;
            let of = manifest.id();
            match ctx.offload(move |ctx| check(ctx, &manifest)).await {
                Ok(Some(report)) => {
                    ctx.report(Step::Secrets { set: of, report: report.clone() }).await?;
                    report
                }
                Ok(None) => return Ok(end),
                Err(reason) => return Ok(degraded(end, format!("encrypted values: unchecked: {reason}"))),
            }
        }
    };
    Ok(match report.problem() {
        Some(problem) => degraded(end, problem),
        None => end,
    })
}

/// What is known of a set's secrets, if they are not to be checked here. What another master did not find, this one may have.
fn known(ctx: &StageContext, record: &Record, set: &SetId) -> Option<SecretsReport> {
    let is_master = |host: &HostName| ctx.settings.inventory.has(host, Role::Master);
    let is_own = record.secrets.iter().any(|checked| checked.set == *set);
    let is_final = |report: &&SecretsReport| !report.is_unchecked() && (is_own || report.problem().is_none());
    record.secrets_of(set, is_master).filter(is_final).cloned()
}

/// The copy that a restore would use: a proved one, else the best one with a snapshot.
fn copy_to_check(ctx: &StageContext) -> Option<Judged> {
    let proved: Vec<SetId> = ctx.record.look(|record| {
        let proofs = record.map(|record| record.proofs.as_slice()).unwrap_or_default();
        let proved = proofs.iter().filter(|proof| proof.verdict == DrillVerdict::Proved);
        proved.map(|proof| proof.set.clone()).collect()
    });
    let mut copies = ctx.vault.best_of_hosts(ctx.night, Role::Etcd).unwrap_or_default();
    copies.retain(|set| set.grade.is_copy() && snapshot_of(&set.manifest).is_some());
    if copies.iter().any(|set| proved.contains(&set.manifest.id())) {
        copies.retain(|set| proved.contains(&set.manifest.id()));
    }
    best_judged(copies)
}

/// Reads the snapshot of a set key by key. `None` without a master set of tonight; the night reports that by itself.
fn check(ctx: &StageContext, manifest: &Manifest) -> Result<Option<SecretsReport>, String> {
    let keys = master_keys::of_night(&ctx.settings, &ctx.vault, manifest.night);
    if matches!(keys, MasterKeys::Unknown(_)) {
        return Ok(None);
    }
    let (item, packing, _) = snapshot_of(manifest).ok_or("the set has no snapshot")?;
    let size = manifest.etcd.as_ref().map(|facts| facts.raw_size);
    let scratch = ctx.settings.paths.scratch();
    let named = |reason: String| format!("{}: {reason}", manifest.id());
    create_dir_all(&scratch).map_err(|error| format!("cannot create {}: {error}", scratch.display()))?;
    // Beside the real member's data and in the vault's file system, the same space stays free as for a drill.
    let db_size = size.unwrap_or_default();
    if let Err(error) = space::require(&scratch, db_size, 1, min_free(&ctx.settings, &scratch, db_size)) {
        let reason = named(chain(&error));
        // Without any encryption configuration there are probably no encrypted values: nothing that the night lacks.
        return match &keys {
            MasterKeys::Known(keyring) if keyring.is_empty() => {
                tracing::warn!("encrypted values: unchecked: {reason}");
                Ok(None)
            }
            _ => Err(reason),
        };
    }
    let packed = open_below(&ctx.vault.directory(&manifest.id()), &item.path);
    let packed = packed.map_err(|error| named(chain(&error)))?;
    let spooled = spool(packed, packing, &scratch, size).map_err(|error| named(chain(&error)))?;
    let report = secrets::check(&spooled.file, spooled.ending, &keys);
    report.map(Some).map_err(|fault| named(fault.reason()))
}

/// The stage's end with one more reason.
fn degraded(end: StageEnd, problem: String) -> StageEnd {
    match (end.outcome, &end.reason) {
        (Outcome::Done, _) | (_, None) => StageEnd { gained: end.gained, ..StageEnd::degraded(problem) },
        (_, Some(reason)) => StageEnd { reason: Some(format!("{reason}; {problem}")), ..end },
    }
}
