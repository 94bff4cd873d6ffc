//! `nightshift verify`: verifies stored sets (hashes, snapshots, signatures) and archives again.

use std::collections::BTreeSet;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use nightshift_archive::list_blocking;
use nightshift_core::manifest::Manifest;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_core::units::{bytes, count};
use nightshift_peers::Trust;
use nightshift_ssh::KnownHosts;
use nightshift_store::Vault;
use nightshift_store::verify::{Verified, verify_set};

use super::{CommandError, archive_file};
use crate::exit::Exit;
use crate::{config_file, out, report};

pub fn run(config: &Path, what: &[String], identity: Option<&Path>) -> Result<Exit, CommandError> {
    let (archives, sets): (Vec<&String>, Vec<&String>) =
        what.iter().partition(|word| Path::new(word).is_file());
    let mut worst = Exit::Good;
    for archive in &archives {
        if !archive_is_good(Path::new(archive), identity)? {
            worst = Exit::Failed;
        }
    }
    if !archives.is_empty() && sets.is_empty() {
        return Ok(worst);
    }
    let settings = config_file::settings(config)?;
    let vault = Vault::new(&settings.vault.path);
    let sets = match sets.as_slice() {
        [] => vault.sets()?,
        words => words
            .iter()
            .map(|word| word.parse::<SetId>().map_err(|error| CommandError::Usage(error.to_string())))
            .collect::<Result<_, _>>()?,
    };
    let found = verify_sets(&settings, &vault, sets)?;
    Ok(if found { worst } else { Exit::Failed })
}

/// Verifies each set, files with the same content only once. True if all are good.
fn verify_sets(settings: &Settings, vault: &Vault, sets: Vec<SetId>) -> Result<bool, CommandError> {
    let known_hosts = match &settings.ssh.known_hosts {
        path if path.exists() => Some(KnownHosts::load(path)?),
        _ => None,
    };
    let signed = |manifest: &Manifest, bytes: &[u8], signature: Option<&str>| {
        // known_hosts does not contain this host's own key.
        if manifest.made_by == settings.this {
            return None;
        }
        let known_hosts = known_hosts.as_ref()?;
        let trust = Trust { cluster: &settings.cluster, inventory: &settings.inventory, known_hosts };
        trust
            .check_signature(&manifest.host, &manifest.made_by, bytes, signature)
            .err()
            .map(|error| report::in_full(&error))
    };
    let progress = ProgressBar::new(sets.len() as u64).with_style(style());
    let mut hashed = BTreeSet::new();
    let mut all_good = true;
    for set in sets {
        progress.set_message(set.to_string());
        let Verified { findings, files, bytes: size } =
            verify_set(&settings.cluster, vault, &set, &signed, &mut hashed)?;
        progress.suspend(|| {
            if findings.is_empty() {
                out::print(format!("{set}: good, {}, {}", count(files, "file"), bytes(size)));
            }
            for finding in &findings {
                out::print(format!("{set}: BAD: {finding}"));
            }
        });
        all_good &= findings.is_empty();
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(all_good)
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn archive_is_good(path: &Path, identity: Option<&Path>) -> Result<bool, CommandError> {
    let name = archive_file::require_name(path)?;
    let archive = archive_file::open(path, &name, identity, &ProgressBar::hidden())?;
    match list_blocking(archive, &name) {
        Ok(listing) => {
            let sets = count(listing.contents.sets.len(), "set");
            out::print(format!(
                "{name}: good, {sets}, {} entries, {}",
                listing.entries,
                bytes(listing.bytes)
            ));
            for missing in &listing.contents.missing {
                out::print(format!("{name}: missing from the archive: {missing}"));
            }
            Ok(true)
        }
        Err(error) => {
            out::print(format!("{name}: BAD: {}", report::in_full(&error)));
            Ok(false)
        }
    }
}
