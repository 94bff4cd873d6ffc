//! The sets that a restore reads: unpacked from an archive or copied from a vault, with every byte verified and their signatures checked.

use std::fs;
use std::path::Path;

use nightshift_core::night::Night;
use nightshift_core::restore::finding::Finding;
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use nightshift_core::signed::Signed;
use nightshift_peers::Signers;
use nightshift_restore::login::Login;
use nightshift_restore::source::{Sets, archive, vault};
use nightshift_store::{IoContext as _, Vault};

use super::remote;
use crate::args::Origin;
use crate::commands::verify::signer;
use crate::commands::{CommandError, archive_file, here, progress};
use crate::{config_file, report};

/// The sets of a night, unpacked, and what is known about their origin.
pub struct Verified {
    pub sets: Sets,
    /// The archive or the vault, as text.
    pub source: String,
    /// What was checked of the signatures, as text.
    pub signed: String,
    /// The signatures of sets that do not count.
    pub doubts: Vec<Finding>,
}

/// Unpacks the sets into `directory`, and verifies every byte of them.
pub fn read(
    config: &Path,
    origin: &Origin,
    login: &Login,
    directory: &Path,
) -> Result<Verified, CommandError> {
    if let Some(url) = origin.from.to_str().filter(|from| from.starts_with(remote::SCHEME)) {
        let fetched = directory.with_file_name("archive");
        let path = here(remote::fetch(url, origin, login, &fetched))?;
        let verified = from_archive(&path, origin, directory)?;
        fs::remove_dir_all(&fetched).on("remove", &fetched)?;
        return Ok(Verified { source: format!("{} of {url}", verified.source), ..verified });
    }
    if origin.from.is_dir() {
        from_vault(config, origin, directory)
    } else {
        from_archive(&origin.from, origin, directory)
    }
}

fn from_archive(path: &Path, args: &Origin, directory: &Path) -> Result<Verified, CommandError> {
    let identity = args.identity.as_deref();
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
    let progress = progress::of_file("unpacking and verifying", path);
    let reader = archive_file::open(path, &name, identity, &progress)?;
    let sets = archive::unpack(reader, &name, path, directory)?;
    progress.finish_and_clear();
    let source = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Verified { sets, source, signed, doubts: Vec::new() })
}

/// A vault has the signature of each set's own host, checked with the keys that this host has pinned.
fn from_vault(config: &Path, args: &Origin, directory: &Path) -> Result<Verified, CommandError> {
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
    let sets = vault::copy(&vault, &hosts, night, directory)?;
    let signers = Signers::load(&settings);
    let mut doubts = Vec::new();
    let mut unchecked = 0;
    for (manifest, _) in &sets.sets {
        match signer::of_set(&vault, manifest, &signers)? {
            Signed::By(_) => {}
            signed @ Signed::Refused(_) => {
                let what = "use another vault or an archive";
                doubts.push(Finding::refused(format!("{}: {signed}; {what}", manifest.id())));
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
    Ok(Verified { sets, source: format!("the vault {}", args.from.display()), signed, doubts })
}

/// The newest night with an etcd set that counts as a copy.
fn newest(vault: &Vault, settings: &Settings) -> Result<Night, CommandError> {
    let hosts: Vec<_> = settings.inventory.with_role(Role::Etcd).map(|host| host.name.clone()).collect();
    let newest = vault.newest_copy(&hosts, Role::Etcd)?;
    newest.map(|judged| judged.manifest.night).ok_or_else(|| {
        CommandError::Absent(format!(
            "{} has no etcd set that counts as a copy; use another vault or an archive, or name a night with --night",
            vault.root().display()
        ))
    })
}
