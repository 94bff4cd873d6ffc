//! The snapshot from which objects are restored, and the keys that decrypt its values.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nightshift_core::etcd_facts::EtcdFacts;
use nightshift_core::manifest::{self, Manifest};
use nightshift_core::outcome::Grade;
use nightshift_core::restore;
use nightshift_core::restore::finding::FindingKind;
use nightshift_core::role::Role;
use nightshift_etcd::trial::master_keys;
use nightshift_restore::directory::Directory;
use nightshift_restore::login::Login;
use nightshift_snapshot::{Database, Keyring};
use nightshift_store::packing::snapshot_of;
use nightshift_store::{IoContext as _, list, read_bounded};

use super::origin::{self, Verified};
use crate::args::{Choice, RestoreObject};
use crate::commands::CommandError;
use crate::commands::content::{self, Content};
use crate::commands::inspect::opened;
use crate::commands::inspect::target::Target;
use crate::commands::scratch::default_scratch;
use crate::out;

/// Bytes of an encryption configuration.
const MAX_CONFIGURATION: u64 = 256 << 10;

pub struct Copy {
    /// Which snapshot it is, and what was checked of its signature.
    pub what: String,
    pub database: Database<File>,
    pub keyring: Keyring,
}

/// Sets of one night in a directory, each in `<host>/<role>/`.
struct Unpacked {
    directory: PathBuf,
    sets: Vec<(Manifest, Grade)>,
    /// Where they are from, and what was checked of their signatures.
    origin: String,
}

/// Opens the snapshot, with every byte of it verified. Unpacked sets are removed again: the snapshot is then in a file without a name.
pub fn open(config: &Path, args: &RestoreObject) -> Result<Copy, CommandError> {
    let from = &args.origin.from;
    let scratch = args.scratch.clone().unwrap_or_else(default_scratch);
    let mut copy = if from.join(restore::FILE).is_file() {
        of_sets(&of_plan(from)?, &scratch)?
    } else if from.is_file()
        && let Content::Snapshot = content::of(from, args.origin.identity.as_deref())?
    {
        of_file(args, scratch)?
    } else {
        let unpacked = Directory::create(&scratch)?;
        let read = unpack(config, args, &unpacked).and_then(|sets| of_sets(&sets, &scratch));
        // It contains secrets of the cluster, decrypted.
        fs::remove_dir_all(unpacked.path()).on("remove", unpacked.path())?;
        read?
    };
    if let Some(path) = &args.encryption_config {
        let text = String::from_utf8_lossy(&read_bounded(path, MAX_CONFIGURATION)?).into_owned();
        let unusable = CommandError::failed(format!("cannot use {}", path.display()));
        copy.keyring.extend(Keyring::parse(&text).map_err(unusable)?);
    }
    Ok(copy)
}

fn of_file(args: &RestoreObject, scratch: PathBuf) -> Result<Copy, CommandError> {
    let from = &args.origin.from;
    if !args.origin.unsigned {
        return Err(CommandError::Usage(format!(
            "{} is a snapshot, which has no signature; use an archive or a vault, or --unsigned",
            from.display()
        )));
    }
    let identity = args.origin.identity.clone();
    let choice = Choice { host: None, set: None, identity, scratch: Some(scratch) };
    let opened = opened::open(Target::Snapshot(from.clone()), &choice)?.verified()?;
    let what = format!("{}, NOT SIGNED (--unsigned)", from.display());
    Ok(Copy { what, database: opened.database, keyring: Keyring::default() })
}

fn unpack(config: &Path, args: &RestoreObject, directory: &Directory) -> Result<Unpacked, CommandError> {
    let login = Login { config: args.ssh_config.clone(), ..Login::default() };
    let Verified { sets, source, signed, doubts } =
        origin::read(config, &args.origin, &login, &directory.sets())?;
    for doubt in doubts {
        match doubt.kind {
            FindingKind::Refused => return Err(CommandError::Absent(doubt.text)),
            FindingKind::Lost | FindingKind::Missing => out::print_error(&doubt.text),
        }
    }
    Ok(Unpacked { directory: directory.sets(), sets: sets.sets, origin: format!("{source}, {signed}") })
}

/// The sets that a plan has verified.
fn of_plan(path: &Path) -> Result<Unpacked, CommandError> {
    let (directory, plan) = Directory::open(path)?;
    let root = directory.sets();
    let mut sets = Vec::new();
    for host in list(&root)? {
        for set in list(&host.path())? {
            let file = set.path().join(manifest::FILE);
            if file.is_file() {
                let bytes = read_bounded(&file, manifest::max_bytes(Role::Master))?;
                let invalid = CommandError::failed(format!("{} is not a valid manifest", file.display()));
                let manifest = Manifest::decode(&bytes).map_err(invalid)?;
                let grade = manifest.grade;
                sets.push((manifest, grade));
            }
        }
    }
    let mut origin = format!("{}, {}", plan.source, plan.signed);
    if plan.etcd.is_some_and(|etcd| !etcd.copy.kind.is_snapshot()) {
        origin += ", A SNAPSHOT OF THE NIGHT, NOT THE COPY THAT THE PLAN RESTORES";
    }
    Ok(Unpacked { directory: root, sets, origin })
}

fn of_sets(unpacked: &Unpacked, scratch: &Path) -> Result<Copy, CommandError> {
    let copies = || unpacked.sets.iter().filter(|(_, grade)| *grade > Grade::Bad);
    let directory = |manifest: &Manifest| unpacked.directory.join(manifest.id().in_night());
    let revision = |manifest: &Manifest| manifest.etcd.as_ref().map(EtcdFacts::last_revision);
    let best = copies()
        .filter(|(manifest, _)| snapshot_of(manifest).is_some())
        .max_by_key(|(manifest, grade)| (*grade, revision(manifest), manifest.id()));
    let Some((manifest, grade)) = best else {
        return Err(CommandError::Absent(format!(
            "{}: no etcd set with a snapshot; use another night or archive",
            unpacked.origin
        )));
    };
    if !grade.is_copy() {
        out::print_error(&format!("{} is {grade}: {}", manifest.id(), manifest.notes.summary()));
    }
    let masters = copies().filter(|(manifest, _)| manifest.role == Role::Master);
    let masters = masters.map(|(manifest, _)| (directory(manifest), manifest));
    let keyring = master_keys::of_sets(masters).unwrap_or_default();
    let target = Target::Set { directory: directory(manifest), manifest: Box::new(manifest.clone()) };
    let choice = Choice { host: None, set: None, identity: None, scratch: Some(scratch.to_owned()) };
    let opened = opened::open(target, &choice)?.verified()?;
    Ok(Copy { what: format!("{} of {}", manifest.id(), unpacked.origin), database: opened.database, keyring })
}
