//! What `nightshift drill` tests: a set of this vault, a set in an archive, or another tool's copy.
//!
//! Root reads what only root can read, and then becomes the owner of the state directory, before it uses anything in there.

use std::path::Path;

use nightshift_core::digest::Digest;
use nightshift_core::manifest::Manifest;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_engine::drill::job::{Job, Subject, is_in_use};
use nightshift_engine::drill::master_keys;
use nightshift_engine::drill::set_copy::{OpenError, SetCopy, pack_data_dir};
use nightshift_etcd::trial::secrets::MasterKeys;
use nightshift_store::{Vault, become_owner_of};

use super::from_archive;
use crate::args::Drill;
use crate::commands::CommandError;
use crate::commands::scratch::default_scratch;

pub struct Chosen {
    /// The copy, or as text which one cannot be opened, and the reason: that says nothing about the copy.
    pub subject: Result<Subject, (String, OpenError)>,
    /// If the copy is in this vault: its set, and the SHA-256 of its manifest.
    pub stored: Option<(SetId, Digest)>,
}

pub fn choose(settings: &Settings, args: &Drill) -> Result<Chosen, CommandError> {
    let set = args.set.as_deref().map(str::parse::<SetId>).transpose();
    let set = set.map_err(|error| CommandError::Usage(error.to_string()))?;
    let foreign = match (&args.data_dir, &args.archive) {
        (Some(directory), _) => Some(of_data_dir(directory)?),
        (None, Some(archive)) => {
            Some(Ok(from_archive::unpack(archive, args.identity.as_deref(), set.clone())?))
        }
        (None, None) => None,
    };
    become_owner_of(&settings.paths.state)?;
    match foreign {
        Some(subject) => Ok(Chosen { subject, stored: None }),
        None => of_vault(settings, set),
    }
}

fn of_data_dir(directory: &Path) -> Result<Result<Subject, (String, OpenError)>, CommandError> {
    let unreadable = |source| CommandError::Read { path: directory.to_owned(), source };
    let directory = directory.canonicalize().map_err(unreadable)?;
    if is_in_use(&directory) {
        return Err(CommandError::Usage(format!(
            "{}: a running etcd uses this directory, and a copy made now may be inconsistent; stop that etcd, or drill a finished backup of it",
            directory.display()
        )));
    }
    let copy = directory.display().to_string();
    Ok(match pack_data_dir(&directory, &default_scratch()) {
        Ok(opened) => Ok(Subject {
            copy,
            opened,
            facts: None,
            compared_elsewhere: false,
            keys: MasterKeys::Unknown("this is not a drill of a set in the vault".to_owned()),
        }),
        Err(error) => Err((copy, error)),
    })
}

fn of_vault(settings: &Settings, set: Option<SetId>) -> Result<Chosen, CommandError> {
    let vault = Vault::of(settings);
    let manifest = match set {
        Some(set) => vault.manifest(&set)?,
        None => newest(settings, &vault)?,
    };
    let id = manifest.id();
    let digest = vault.manifest_digest(&id)?;
    let facts = Job::facts_of(&vault, &manifest);
    let copy = SetCopy::of(&manifest)
        .ok_or_else(|| CommandError::Usage(format!("{id} has no etcd snapshot to restore")))?;
    let text = format!("the vault of {}", settings.this);
    let subject = match copy.open(&vault.directory(&id), &settings.paths.scratch()) {
        Ok(opened) => {
            let keys = master_keys::of_night(settings, &vault, manifest.night);
            Ok(Subject::of_set(text, opened, &manifest, facts).with_keys(keys))
        }
        Err(error) => Err((text, error)),
    };
    Ok(Chosen { subject, stored: Some((id, digest)) })
}

fn newest(settings: &Settings, vault: &Vault) -> Result<Manifest, CommandError> {
    let hosts: Vec<_> = settings.inventory.with_role(Role::Etcd).map(|host| host.name.clone()).collect();
    let newest = vault.newest_copy(&hosts, Role::Etcd)?;
    newest
        .map(|judged| judged.manifest)
        .ok_or_else(|| CommandError::Usage(format!("{} has no usable etcd set", vault.root().display())))
}
