//! What `nightshift drill` tests: a set of this vault, a set in an archive, or another tool's copy.

use std::path::Path;

use nightshift_core::digest::Digest;
use nightshift_core::etcd_facts::EtcdFacts;
use nightshift_core::manifest::Manifest;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_engine::drill::job::{Job, Stored, is_in_use};
use nightshift_engine::drill::perform::WorkerMode;
use nightshift_etcd::trial::scratch::{FOREIGN, Scratch};
use nightshift_store::Vault;

use super::from_archive;
use crate::args::Drill;
use crate::commands::CommandError;

pub struct Subject {
    pub job: Job,
    pub mode: WorkerMode,
    /// If the copy is in this vault: its set, and the SHA-256 of its manifest.
    pub stored: Option<(SetId, Digest)>,
    /// A scratch directory in which to unpack the copy or to restore it; removed on drop.
    pub scratch: Option<Scratch>,
}

impl Subject {
    pub fn of(settings: &Settings, args: &Drill) -> Result<Self, CommandError> {
        let set = args.set.as_deref().map(str::parse::<SetId>).transpose();
        let set = set.map_err(|error| CommandError::Usage(error.to_string()))?;
        match (&args.data_dir, &args.archive) {
            (Some(directory), _) => foreign(settings, directory),
            (None, Some(archive)) => archived(settings, archive, args.identity.as_deref(), set),
            (None, None) => stored(settings, set),
        }
    }
}

fn foreign(settings: &Settings, directory: &Path) -> Result<Subject, CommandError> {
    let unreadable = |source| CommandError::Read { path: directory.to_owned(), source };
    let directory = directory.canonicalize().map_err(unreadable)?;
    if is_in_use(&directory) {
        return Err(CommandError::Usage(format!(
            "{}: a running etcd uses this directory, and a copy made now may be inconsistent; stop that etcd, or drill a finished backup of it",
            directory.display()
        )));
    }
    let stored = Stored::DataDir { directory: directory.clone() };
    // A scratch directory apart from the daemon's, so that root's files from a killed drill do not block the daemon's drills.
    let scratch = Scratch::create(&settings.drill.scratch, FOREIGN)?;
    let job = Job::new(settings, directory.display().to_string(), stored, None);
    let job = Job { scratch: scratch.directory().to_owned(), ..job };
    Ok(Subject { job, mode: WorkerMode::ChildWithOwnRights, stored: None, scratch: Some(scratch) })
}

fn archived(
    settings: &Settings,
    archive: &Path,
    identity: Option<&Path>,
    set: Option<SetId>,
) -> Result<Subject, CommandError> {
    let (scratch, manifest) = from_archive::unpack(settings, archive, identity, set)?;
    let copy = format!("{} of {}", manifest.id(), archive.display());
    let job = job(settings, copy, scratch.directory(), &manifest, manifest.etcd.clone())?;
    Ok(Subject { job, mode: WorkerMode::Child, stored: None, scratch: Some(scratch) })
}

fn stored(settings: &Settings, set: Option<SetId>) -> Result<Subject, CommandError> {
    let vault = Vault::of(settings);
    let manifest = match set {
        Some(set) => vault.manifest(&set)?,
        None => newest(settings, &vault)?,
    };
    let id = manifest.id();
    let digest = vault.manifest_digest(&id)?;
    let facts = Job::facts_of(&vault, &manifest);
    let job =
        job(settings, format!("the vault of {}", settings.this), &vault.directory(&id), &manifest, facts)?;
    Ok(Subject { job, mode: WorkerMode::of(settings), stored: Some((id, digest)), scratch: None })
}

fn job(
    settings: &Settings,
    copy: String,
    directory: &Path,
    manifest: &Manifest,
    facts: Option<EtcdFacts>,
) -> Result<Job, CommandError> {
    let stored = Stored::of(directory, manifest)
        .ok_or_else(|| CommandError::Usage(format!("{} has no etcd snapshot to restore", manifest.id())))?;
    Ok(Job::new(settings, copy, stored, facts).of_set(manifest))
}

fn newest(settings: &Settings, vault: &Vault) -> Result<Manifest, CommandError> {
    let hosts: Vec<_> = settings.inventory.with_role(Role::Etcd).map(|host| host.name.clone()).collect();
    let newest = vault.newest_copy(&hosts, Role::Etcd)?;
    newest
        .map(|judged| judged.manifest)
        .ok_or_else(|| CommandError::Usage(format!("{} has no usable etcd set", vault.root().display())))
}
