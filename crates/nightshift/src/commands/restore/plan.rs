//! `nightshift restore plan`: reads the sets, verifies every byte, and prints the plan.

use std::path::Path;

use indicatif::ProgressBar;
use jiff::Timestamp;
use nightshift_core::manifest::{Item, Manifest};
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::restore::evidence::Evidence;
use nightshift_core::restore::finding::Finding;
use nightshift_core::restore::make::make;
use nightshift_core::restore::page::Page;
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use nightshift_core::signed::Signed;
use nightshift_peers::Signers;
use nightshift_restore::directory::Directory;
use nightshift_restore::source::{Sets, archive, found, vault};
use nightshift_store::Vault;

use crate::args::RestorePlan;
use crate::commands::verify::signer;
use crate::commands::{CommandError, archive_file};
use crate::exit::Exit;
use crate::{config_file, out, report};

/// The name of nightshift's configuration, which every set contains.
const CONFIG: &str = "nightshift.toml";

pub fn run(config: &Path, args: &RestorePlan) -> Result<Exit, CommandError> {
    let directory = Directory::create(&args.parent)?;
    let made = planned(config, args, &directory)
        .and_then(|plan| Ok((directory.publish(&plan, &args.parent)?, plan)));
    let (directory, plan) = match made {
        Ok(made) => made,
        Err(error) => {
            // It may contain secrets of the cluster, decrypted.
            let _reported_by_the_error = std::fs::remove_dir_all(directory.path());
            return Err(error);
        }
    };
    out::print_text(Page(&plan).to_string().trim_end());
    if plan.is_refused() {
        out::print(format!("{}: refused", directory.path().display()));
        return Ok(Exit::Failed);
    }
    let path = directory.path().display().to_string();
    out::print(format!("the plan is in {path}; next: nightshift restore check {path}"));
    Ok(Exit::Good)
}

fn planned(
    config: &Path,
    args: &RestorePlan,
    directory: &Directory,
) -> Result<nightshift_core::restore::Plan, CommandError> {
    let (sets, source, signed, doubts) = if args.from.is_dir() {
        from_vault(config, args, directory)?
    } else {
        from_archive(args, directory)?
    };
    let settings = settings(&sets, directory)?;
    let evidence = Evidence {
        settings: &settings,
        night: sets.night,
        source,
        signed,
        sets: found(&sets, &directory.sets())?,
        now: Timestamp::now(),
    };
    let mut plan = make(&evidence);
    plan.findings.extend(sets.missing.iter().map(Finding::missing));
    plan.findings.extend(doubts);
    Ok(plan)
}

type Read = (Sets, String, String, Vec<Finding>);

fn from_archive(args: &RestorePlan, directory: &Directory) -> Result<Read, CommandError> {
    let (path, identity) = (&args.from, args.identity.as_deref());
    let name = archive_file::require_name(path, identity)?;
    let signed = match signer::of_archive(path, &name) {
        Ok(fingerprint) => match &args.signer {
            Some(expected) if *expected == fingerprint => format!("signed by {fingerprint}"),
            Some(expected) => {
                return Err(CommandError::Absent(format!(
                    "{} is signed by {fingerprint}, not by {expected}; use an archive of the master with that key",
                    path.display()
                )));
            }
            None if args.unsigned => format!("ITS SIGNER {fingerprint} WAS NOT COMPARED (--unsigned)"),
            None => {
                return Err(CommandError::Usage(format!(
                    "{} is signed by {fingerprint}; with --signer, name the fingerprint of the host key of {} that you noted before the loss",
                    path.display(),
                    name.host
                )));
            }
        },
        Err(CommandError::Absent(_)) if args.unsigned => "NOT SIGNED (--unsigned)".to_owned(),
        Err(error) if args.unsigned => {
            format!("ITS SIGNATURE IS NOT VALID (--unsigned): {}", report::in_full(&error))
        }
        Err(error) => {
            let what = format!(
                "{} is not used; use another archive, or --unsigned if nothing else is left",
                path.display()
            );
            return Err(CommandError::failed(what)(error));
        }
    };
    let reader = archive_file::open(path, &name, identity, &ProgressBar::hidden())?;
    let sets = archive::unpack(reader, &name, path, &directory.sets())?;
    Ok((sets, path.file_name().unwrap_or_default().to_string_lossy().into_owned(), signed, Vec::new()))
}

/// A vault has the signature of each set's own host, checked with the keys that this host has pinned.
fn from_vault(config: &Path, args: &RestorePlan, directory: &Directory) -> Result<Read, CommandError> {
    if args.signer.is_some() {
        return Err(CommandError::Usage(
            "--signer is for archives; a vault has the signature of each set's host".to_owned(),
        ));
    }
    let settings = config_file::settings(config)?;
    let vault = Vault::new(&args.from);
    let night = match args.night {
        Some(night) => night,
        None => newest(&vault, &settings)?,
    };
    let hosts: Vec<_> =
        settings.inventory.hosts().map(|host| (host.name.clone(), host.roles.iter().collect())).collect();
    let sets = vault::copy(&vault, &hosts, night, &directory.sets())?;
    let signers = Signers::load(&settings);
    let mut doubts = Vec::new();
    let mut unchecked = 0;
    for (manifest, _) in &sets.sets {
        match signer::of_set(&vault, manifest, &signers)? {
            Signed::By(_) => {}
            signed @ Signed::Refused(_) => {
                doubts.push(Finding::refused(format!("{}: {signed}", manifest.id())));
            }
            signed if args.unsigned => {
                unchecked += 1;
                doubts.push(Finding::missing(format!("{}: {signed}", manifest.id())));
            }
            signed => doubts.push(Finding::refused(format!(
                "{}: {signed}; pin its host key, or use --unsigned if nothing else is left",
                manifest.id()
            ))),
        }
    }
    let signed = if unchecked == 0 {
        format!("each set checked with the host keys that {} has pinned", settings.this)
    } else {
        format!("THE SIGNATURES OF {unchecked} OF {} SETS WERE NOT CHECKED (--unsigned)", sets.sets.len())
    };
    Ok((sets, format!("the vault {}", args.from.display()), signed, doubts))
}

/// The newest night with an etcd set that counts as a copy.
fn newest(vault: &Vault, settings: &Settings) -> Result<Night, CommandError> {
    let hosts: Vec<_> = settings.inventory.with_role(Role::Etcd).map(|host| host.name.clone()).collect();
    let newest = vault.newest_copy(&hosts, Role::Etcd)?;
    newest.map(|judged| judged.manifest.night).ok_or_else(|| {
        CommandError::Absent(format!(
            "{} has no etcd set; use another vault or an archive",
            vault.root().display()
        ))
    })
}

/// The cluster as it was, by the configuration in a set: a master's first.
fn settings(sets: &Sets, directory: &Directory) -> Result<Settings, CommandError> {
    let copies = sets.sets.iter().filter(|(_, grade)| *grade > Grade::Bad);
    let with_config = copies.filter_map(|(manifest, _)| Some((manifest, config_in(manifest)?)));
    let first = with_config.min_by_key(|(manifest, _)| (manifest.role, manifest.host.clone()));
    let Some((manifest, item)) = first else {
        return Err(CommandError::Absent(format!(
            "no set contains {CONFIG}, so the hosts of the cluster are unknown; use another archive"
        )));
    };
    let path = directory.set(&manifest.id()).join(&item.path);
    let config_dir = Path::new(&item.source).parent().unwrap_or(Path::new("/"));
    Ok(config_file::load_as(&path, manifest.host.to_string(), config_dir)?.settings)
}

fn config_in(manifest: &Manifest) -> Option<&Item> {
    let is_config = |item: &&Item| Path::new(&item.source).file_name().is_some_and(|name| name == CONFIG);
    manifest.items.iter().find(is_config)
}
