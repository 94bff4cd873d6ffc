//! `pack-archive`: all sets of tonight into one archive in the outbox.

mod own_files;
mod shared_member;

use std::path::Path;

use jiff::Timestamp;
use nightshift_archive::{Contents, PackError, PackRequest, Packed, StoredSet, pack};
use nightshift_core::archive::{self as names, ArchiveName};
use nightshift_core::audit::{Event, Kind};
use nightshift_core::outcome::Outcome;
use nightshift_core::record::{Packed as PackedStep, Record, StartReason, Step};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::{chain, units};
use nightshift_ssh::Signer;
use nightshift_store::outbox::{Outbox, Part};
use nightshift_store::{IoContext as _, Judge, Judged, StoreError, space};
use sha2::{Digest as _, Sha512};

use crate::context::{StageContext, StageEnd};
use crate::expected;
use crate::stages::error::StageError;
use crate::stages::{free_space, host_keys};

pub async fn run(ctx: &StageContext) -> Result<StageEnd, StageError> {
    // An interrupted archive is packed from the beginning.
    let _work = ctx.stop.work().await;
    let Some((packed, missing)) = ctx.offload(pack_tonight).await? else {
        // An earlier attempt, or the daemon before a restart, packed it.
        return Ok(StageEnd::done());
    };
    let archived = &packed.listing.contents.sets;
    let left_out =
        packed.left_out.iter().map(|path| format!("{path} is not a proof: left out of the archive"));
    let links = archived
        .iter()
        .filter(|set| !set.left_out.is_empty())
        .map(|set| format!("{}: links that are only in its manifest: {}", set.id, set.left_out.summary()));
    let reasons: Vec<String> = missing.iter().cloned().chain(left_out).chain(links).collect();
    let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
    let outcome = if missing.is_empty() { Outcome::Done } else { Outcome::Degraded };
    let step = PackedStep {
        archive: packed.name.to_string(),
        bytes: packed.bytes,
        sha256: packed.sha256,
        sets: archived.len(),
        etcd: archived.iter().map(|set| set.id.clone()).filter(|set| set.role == Role::Etcd).collect(),
        missing,
        encrypted: packed.name.encrypted,
    };
    // The record has the sets that are missing; the journal also the files that the archive leaves out.
    let event = event(&step, packed.left_out.len(), reason.clone());
    ctx.report_as(Step::Packed(step), [event]).await?;
    Ok(StageEnd { outcome, reason, ..StageEnd::done() })
}

fn event(step: &PackedStep, left_out: usize, reason: Option<String>) -> Event {
    let PackedStep { archive, bytes, sha256, sets, missing, .. } = step;
    let counts = [(missing.len(), "set", "missing"), (left_out, "file", "left out")];
    let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
    let counts: String =
        counts.map(|(count, thing, state)| format!(", {} {state}", units::count(count, thing))).collect();
    let message =
        format!("{archive} packed: {}, {}{counts}", units::count(*sets, "set"), units::bytes(*bytes));
    Event {
        path: Some(archive.clone()),
        bytes: Some(*bytes),
        sha256: Some(*sha256),
        outcome: Some("packed"),
        reason,
        ..Event::info(Kind::ArchivePacked, message)
    }
}

/// Packs tonight's sets of this vault. `None` where they are packed already and nothing arrived since.
fn pack_tonight(ctx: &StageContext) -> Result<Option<(Packed, Vec<String>)>, StageError> {
    let outbox = Outbox::new(ctx.settings.paths.outbox());
    let sent = Outbox::new(ctx.settings.paths.sent());
    let edition = outbox
        .archives()?
        .iter()
        .chain(&sent.archives()?)
        .filter(|name| {
            name.host == ctx.settings.this && name.date == ctx.night.date && name.extra == ctx.night.extra
        })
        .map(|name| name.edition)
        .max()
        .unwrap_or(0);
    if edition > 0 && !matches!(ctx.why, StartReason::Repack | StartReason::Requested) {
        return Ok(None);
    }
    let mut ids = ctx.vault.sets_of_night(ctx.night)?;
    let mut damaged = Vec::new();
    // A damaged set is left out and reported; the others still get into an archive.
    loop {
        let (part, request) = request(ctx, &outbox, &ids, edition + 1, &damaged)?;
        let missing = request.contents.missing.clone();
        match pack(&request, &|| ctx.stop.is_now()) {
            Ok(packed) => {
                publish(ctx, &outbox, &part, &packed)?;
                return Ok(Some((packed, missing)));
            }
            Err(error @ PackError::Damaged { .. }) => {
                let reason = chain(&error);
                let PackError::Damaged { set, .. } = error else { continue };
                ctx.log(Event {
                    path: Some(set.to_string()),
                    reason: Some(reason.clone()),
                    ..Event::error(Kind::VerifyFailed, format!("{set} is left out of the archive: {reason}"))
                });
                ids.retain(|id| *id != set);
                damaged.push(format!("{set}: {reason}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn request(
    ctx: &StageContext,
    outbox: &Outbox,
    ids: &[SetId],
    edition: u16,
    damaged: &[String],
) -> Result<(Part, PackRequest), StageError> {
    let settings = &ctx.settings;
    let mut sets = Vec::new();
    let mut unreadable = Vec::new();
    let mut judge = Judge::new(&ctx.vault);
    let record = ctx.record.record();
    for id in ids {
        match judge.judge(id) {
            // One that cannot be read again costs itself too.
            Ok(_) if has_changed(ctx, record.as_ref(), id).unwrap_or(true) => {
                unreadable.push(format!(
                    "{id}: its manifest is not the one that was checked when the set was stored; `nightshift verify` shows what is wrong"
                ));
            }
            Ok(Judged { manifest, grade, .. }) => {
                sets.push(StoredSet { id: id.clone(), directory: ctx.vault.directory(id), manifest, grade });
            }
            // Damaged, or of a newer format: the others are packed.
            Err(error) => unreadable.push(chain(&error)),
        }
    }
    let expected = record.as_ref().map_or_else(|| expected::sets(settings), |record| record.expected.clone());
    let missing = expected
        .into_iter()
        .filter(|wanted| !wanted.new)
        .filter(|wanted| !record.as_ref().is_some_and(|record| record.is_not_needed(wanted)))
        .filter(|wanted| !ids.iter().any(|id| id.host == wanted.host && id.role == wanted.role))
        .map(|wanted| {
            let reason = record.as_ref().and_then(|record| record.reason_for(&wanted.host, wanted.role));
            format!("{} {}: {}", wanted.host, wanted.role, reason.unwrap_or("no set of tonight"))
        })
        .chain(unreadable)
        .chain(damaged.iter().cloned())
        .chain(shared_member::reasons(&sets))
        .collect();
    let need = sets.iter().map(|set| set.manifest.total_bytes()).sum();
    ensure_space(ctx, need)?;

    let encrypted = !settings.archive.recipients.is_empty();
    let compression = settings.archive.compression;
    let name =
        ArchiveName::new(settings.this.clone(), ctx.night.date, ctx.night.extra, compression, encrypted);
    let name = name.with_edition(edition);
    let part = outbox.begin(&name.to_string())?;
    let contents = Contents {
        format: names::FORMAT,
        cluster: settings.cluster.clone(),
        host: settings.this.clone(),
        night: ctx.night,
        edition,
        made_at: Timestamp::now(),
        made_with: env!("CARGO_PKG_VERSION").to_owned(),
        sets: Vec::new(),
        missing,
        host_keys: host_keys::pinned(ctx),
        files: Vec::new(),
    };
    let files = own_files::of(ctx, &name, &sets);
    let recipients = settings.archive.recipients.clone();
    let out = part.file.try_clone().on("open", &part.path)?;
    let request = PackRequest { contents, sets, files, compression, recipients, out };
    Ok((part, request))
}

fn ensure_space(ctx: &StageContext, need: u64) -> Result<(), StageError> {
    let outbox = ctx.settings.paths.outbox();
    let reserved =
        if space::same_file_system(&outbox, ctx.vault.root()) { ctx.vault.reserved().bytes } else { 0 };
    let leave = ctx.settings.vault.min_free.saturating_add(reserved);
    free_space::ensure(ctx, || space::require(&outbox, need, 3, leave))
        .map_err(|source| StageError::Space { what: "the archive", source })
}

/// Whether a stored set has another manifest than the record says: a set is checked when it is stored, and never changes after that.
fn has_changed(ctx: &StageContext, record: Option<&Record>, set: &SetId) -> Result<bool, StoreError> {
    let reports = record.into_iter().flat_map(|record| &record.sets);
    let stored = reports.filter(|report| report.set == *set && report.fate.is_stored());
    let Some(recorded) = stored.filter_map(|report| report.sha256).next_back() else { return Ok(false) };
    Ok(ctx.vault.manifest_digest(set)? != recorded)
}

fn publish(ctx: &StageContext, outbox: &Outbox, part: &Part, packed: &Packed) -> Result<(), StageError> {
    // Encryption to a public key does not prove who wrote the archive; the signature does.
    let signature = signature(ctx, names::NAMESPACE, &part.path)?;
    Ok(outbox.publish(part, &packed.name, packed.sha256, Some(&signature))?)
}

/// The signature of a file by this host's key.
pub(super) fn signature(ctx: &StageContext, namespace: &str, path: &Path) -> Result<String, StageError> {
    Ok(Signer::from_host_key(&ctx.settings.ssh.host_key)?.sign_digest(namespace, &sha512(path)?)?)
}

fn sha512(path: &Path) -> Result<[u8; 64], StoreError> {
    let mut file = std::fs::File::open(path).on("open", path)?;
    let mut hasher = Sha512::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match std::io::Read::read(&mut file, &mut buffer).on("read", path)? {
            0 => return Ok(hasher.finalize().into()),
            read => hasher.update(&buffer[..read]),
        }
    }
}
