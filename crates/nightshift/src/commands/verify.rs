//! `nightshift verify`: verifies stored sets (hashes, snapshots, signatures) and archives again, and prints what was checked.

mod archive;
mod archived_sets;
mod opened;
pub mod signer;
mod state;

use std::collections::BTreeSet;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use nightshift_core::manifest::Manifest;
use nightshift_core::outcome::Grade;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_core::signed::Signed;
use nightshift_core::units::{bytes, count};
use nightshift_peers::Signers;
use nightshift_ssh::KnownHosts;
use nightshift_store::records::Records;
use nightshift_store::verify::{Verified, verify_set};
use nightshift_store::{Judge, Judged, Listed, StoredProofs, Vault};

use super::CommandError;
use crate::args::Verify;
use crate::exit::Exit;
use crate::{config_file, out, report};

pub use archive::signature_of;
use state::State;

pub fn run(config: &Path, args: &Verify) -> Result<Exit, CommandError> {
    let (archives, sets): (Vec<&String>, Vec<&String>) =
        args.what.iter().partition(|word| Path::new(word).is_file());
    let only_archives = !archives.is_empty() && sets.is_empty();
    let settings = match config_file::settings(config) {
        Ok(settings) => Some(settings),
        // An archive can be verified on any machine.
        Err(_) if only_archives => None,
        Err(error) => return Err(error),
    };
    let signers = signers(config, settings.as_ref(), args.known_hosts.as_deref());
    let mut worst = State::Verified;
    for archive in &archives {
        let archive_path = Path::new(archive);
        let verified = archive::verify(archive_path, args.identity.as_deref(), &signers);
        if let (Ok(State::Verified | State::Unchecked), Some(settings), Some(identity)) =
            (&verified, &settings, &args.identity)
        {
            // A stamp that cannot be written does not make the archive bad.
            if let Err(error) = opened::remember(settings, archive_path, identity) {
                out::print_error(&format!("note: {archive}: {}", report::in_full(&error)));
            }
        }
        worst = worst.max(match verified {
            // It does not keep the others from being verified.
            Err(error) if args.what.len() > 1 => unchecked(archive, &error),
            verified => verified?,
        });
    }
    let Some(settings) = settings.as_ref().filter(|_| !only_archives) else { return Ok(worst.exit()) };
    let vault = Vault::of(settings);
    let named = sets.iter().map(|word| {
        let no_set = |error| CommandError::Usage(format!("{word} is neither a file here nor a set: {error}"));
        word.parse::<SetId>().map_err(no_set)
    });
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let Listed { sets, unlisted } =
        if named.is_empty() { vault.list()? } else { Listed { sets: named, unlisted: Vec::new() } };
    for error in &unlisted {
        worst = worst.max(unchecked("the vault", error));
    }
    Ok(worst.max(verify_sets(settings, &vault, &signers, sets)).exit())
}

fn unchecked(what: impl std::fmt::Display, error: &(dyn std::error::Error + 'static)) -> State {
    out::print(format!("{what}: unchecked: {}", report::in_full(error)));
    State::Unchecked
}

/// The keys by which signatures are checked: those of the configuration, and pins from another file if one is named.
pub fn signers<'a>(config: &Path, settings: Option<&'a Settings>, known_hosts: Option<&Path>) -> Signers<'a> {
    let named = known_hosts.map(|path| KnownHosts::load(path).map_err(|error| report::in_full(&error)));
    match (settings, named) {
        (Some(settings), None) => Signers::load(settings),
        (Some(settings), Some(pins)) => Signers::load(settings).with_pins(pins),
        (None, Some(pins)) => Signers::pinned(pins),
        (None, None) => Signers::pinned(Err(format!(
            "no pinned host keys: {} is not usable, and no file is named with --known-hosts",
            config.display()
        ))),
    }
}

/// Verifies each set, files with the same content only once. One that cannot be read does not keep the others from being verified.
fn verify_sets(settings: &Settings, vault: &Vault, signers: &Signers<'_>, sets: Vec<SetId>) -> State {
    let check = |manifest: &Manifest, bytes: &[u8], signature: Option<&str>| {
        signers.of_set(manifest, bytes, signature)
    };
    let progress = ProgressBar::new(sets.len() as u64).with_style(style());
    let mut hashed = BTreeSet::new();
    let mut judge = Judge::new(vault);
    let mut worst = State::Verified;
    for set in sets {
        progress.set_message(set.to_string());
        let state = match verify_set(&settings.cluster, vault, &set, &check, &mut hashed) {
            Err(error) => progress.suspend(|| unchecked(&set, &error)),
            Ok(mut verified) => {
                let judged = judge.judge(&set).ok();
                complete(&mut verified, settings, vault, signers, &set, judged.as_ref());
                let grade = judged.map(|judged| judged.grade);
                progress.suspend(|| lines(&set, grade, &verified).into_iter().for_each(out::print));
                State::of(&verified.findings, &verified.unchecked, &verified.signed)
            }
        };
        worst = worst.max(state);
        progress.inc(1);
    }
    progress.finish_and_clear();
    worst
}

/// Adds what is known beside the set itself: where it came from, and its proofs.
fn complete(
    verified: &mut Verified,
    settings: &Settings,
    vault: &Vault,
    signers: &Signers<'_>,
    set: &SetId,
    judged: Option<&Judged>,
) {
    // A drill replayed its v2 backup.
    if judged.is_some_and(|judged| judged.proved && judged.manifest.has_snapshot()) {
        verified.unchecked.clear();
    }
    if verified.signed == Signed::Unsigned
        && let Some(from) = relayed_by(settings, set)
    {
        let finding = format!("unsigned, and it was pulled from {from}, not from its origin host");
        verified.findings.push(finding);
    }
    let StoredProofs { proofs, unusable } = vault.stored_proofs(set);
    verified.unchecked.extend(unusable.iter().map(|reason| format!("a proof is unusable: {reason}")));
    for stored in proofs {
        let name = stored.proof.file_name();
        match signers.of_proof(&stored) {
            Signed::By(_) => {}
            // Proofs of earlier versions are unsigned.
            signed @ (Signed::Unsigned | Signed::Unchecked(_)) => {
                verified.unchecked.push(format!("the proof {name}: {signed}"));
            }
            signed @ Signed::Refused(_) => verified.findings.push(format!("the proof {name}: {signed}")),
        }
    }
}

fn lines(set: &SetId, grade: Option<Grade>, verified: &Verified) -> Vec<String> {
    let Verified { findings, unchecked, signed, files, bytes: size, .. } = verified;
    let mut lines: Vec<String> = findings.iter().map(|finding| format!("{set}: BAD: {finding}")).collect();
    if findings.is_empty() {
        // The files are as published. Whether the set is a good copy is another question.
        let grade = grade.map_or("unchecked", Grade::as_str);
        let files = count(*files, "file");
        lines.push(format!("{set}: {grade}, {files} verified, {}, {signed}", bytes(*size)));
    }
    lines.extend(unchecked.iter().map(|reason| format!("{set}: unchecked: {reason}")));
    lines
}

/// The host that a set was pulled from, if that is not its own host and the record of its night still exists.
fn relayed_by(settings: &Settings, set: &SetId) -> Option<String> {
    let record = Records::new(settings.paths.records()).read(set.night).ok()??;
    let stored = record.sets.into_iter().find(|report| report.set == *set && report.fate.is_stored())?;
    stored.from.map(|from| from.to_string())
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
