//! `nightshift verify`: verifies stored sets (hashes, snapshots, signatures) and archives again, and prints what was checked.

mod archive;

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
use nightshift_store::{Judge, Vault};

use super::CommandError;
use crate::args::Verify;
use crate::exit::Exit;
use crate::{config_file, out, report};

pub use archive::signature_of;

/// What is known about one set or archive. The worst decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Verified,
    Unchecked,
    Bad,
}

impl State {
    const fn exit(self) -> Exit {
        match self {
            Self::Verified => Exit::Good,
            Self::Unchecked => Exit::Degraded,
            Self::Bad => Exit::Failed,
        }
    }
}

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
        worst = worst.max(archive::verify(Path::new(archive), args.identity.as_deref(), &signers)?);
    }
    let Some(settings) = settings.as_ref().filter(|_| !only_archives) else { return Ok(worst.exit()) };
    let vault = Vault::of(settings);
    let sets = match sets.as_slice() {
        [] => vault.sets()?,
        words => words
            .iter()
            .map(|word| word.parse::<SetId>().map_err(|error| CommandError::Usage(error.to_string())))
            .collect::<Result<_, _>>()?,
    };
    Ok(worst.max(verify_sets(settings, &vault, &signers, sets)?).exit())
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

/// Verifies each set, files with the same content only once.
fn verify_sets(
    settings: &Settings,
    vault: &Vault,
    signers: &Signers<'_>,
    sets: Vec<SetId>,
) -> Result<State, CommandError> {
    let check = |manifest: &Manifest, bytes: &[u8], signature: Option<&str>| {
        signers.of_set(manifest, bytes, signature)
    };
    let progress = ProgressBar::new(sets.len() as u64).with_style(style());
    let mut hashed = BTreeSet::new();
    let mut judge = Judge::new(vault);
    let mut worst = State::Verified;
    for set in sets {
        progress.set_message(set.to_string());
        let mut verified = verify_set(&settings.cluster, vault, &set, &check, &mut hashed)?;
        if verified.signed == Signed::Unsigned
            && let Some(from) = relayed_by(settings, &set)
        {
            let finding = format!("unsigned, and it was pulled from {from}, not from its origin host");
            verified.findings.push(finding);
        }
        verified.findings.extend(refused_proofs(vault, signers, &set)?);
        let grade = judge.judge(&set).ok().map(|judged| judged.grade);
        let state = state(&verified.findings, &verified.signed);
        progress.suspend(|| lines(&set, grade, &verified).into_iter().for_each(out::print));
        worst = worst.max(state);
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(worst)
}

fn state(findings: &[String], signed: &Signed) -> State {
    match signed {
        _ if !findings.is_empty() => State::Bad,
        Signed::By(_) => State::Verified,
        Signed::Unsigned | Signed::Unchecked(_) | Signed::Refused(_) => State::Unchecked,
    }
}

fn lines(set: &SetId, grade: Option<Grade>, verified: &Verified) -> Vec<String> {
    let Verified { findings, signed, files, bytes: size } = verified;
    if findings.is_empty() {
        // The files are as published. Whether the set is a good copy is another question.
        let grade = grade.map_or("unchecked", Grade::as_str);
        return vec![format!(
            "{set}: {grade}, {} verified, {}, {signed}",
            count(*files, "file"),
            bytes(*size)
        )];
    }
    findings.iter().map(|finding| format!("{set}: BAD: {finding}")).collect()
}

/// The host that a set was pulled from, if that is not its own host and the record of its night still exists.
fn relayed_by(settings: &Settings, set: &SetId) -> Option<String> {
    let record = Records::new(settings.paths.records()).read(set.night).ok()??;
    let stored = record.sets.into_iter().find(|report| report.set == *set && report.fate.is_stored())?;
    stored.from.map(|from| from.to_string())
}

/// Proofs whose signature is not that of the host that issued them. Those of earlier versions are unsigned.
fn refused_proofs(vault: &Vault, signers: &Signers<'_>, set: &SetId) -> Result<Vec<String>, CommandError> {
    let mut findings = Vec::new();
    for stored in vault.stored_proofs(set)? {
        if let signed @ Signed::Refused(_) = signers.of_proof(&stored) {
            findings.push(format!("the proof {}: {signed}", stored.proof.file_name()));
        }
    }
    Ok(findings)
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
