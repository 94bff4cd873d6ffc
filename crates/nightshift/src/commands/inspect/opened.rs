//! Opens a snapshot for reading. A compressed one, or one in an archive, is unpacked into the scratch directory first.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::path::{Path, PathBuf};
use std::thread;

use nightshift_archive::Contents;
use nightshift_core::archive::ArchiveName;
use nightshift_core::digest::Digest;
use nightshift_core::manifest::Manifest;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::units::bytes;
use nightshift_snapshot::{Database, Ending, Findings};
use nightshift_store::best;
use nightshift_store::packing::{Packing, snapshot_of};
use nightshift_store::spool::{SpoolError, Spooled, scratch_file, spool};

use super::target::Target;
use crate::args::Choice;
use crate::commands::archive_file::{self, Extracted};
use crate::commands::content::{self, Plain};
use crate::commands::scratch::default_scratch;
use crate::commands::{CommandError, progress};
use crate::out;

pub struct Opened {
    /// Its name in messages.
    pub what: String,
    pub database: Database<File>,
    /// The faults that were found so far.
    pub faults: Vec<String>,
    /// Whether parts of it could not be read. A key that is not found may then be in those parts.
    pub partly: bool,
    pub scratch: PathBuf,
    /// Its length, hash and trailer, if they were computed during unpacking.
    ending: Option<Ending>,
}

impl Opened {
    pub fn add_faults(&mut self, findings: Findings) {
        self.faults.extend(findings.kept.iter().map(ToString::to_string));
        if findings.further > 0 {
            self.faults.push(format!("{} more findings of this kind", findings.further));
        }
    }

    /// The snapshot, if its hash, its trailer and its metas are good.
    pub fn verified(mut self) -> Result<Self, CommandError> {
        let failed = CommandError::failed(format!("cannot compute the SHA-256 of {}", self.what));
        let ending = self.ending.map_or_else(|| Ending::of(self.database.source()), Ok).map_err(failed)?;
        self.add_faults(self.database.check_ending(&ending, false));
        match self.faults.first() {
            None => Ok(self),
            Some(fault) => {
                Err(CommandError::Absent(format!("{}: {fault}; use another copy or night", self.what)))
            }
        }
    }
}

/// Opens the snapshot of a target.
pub fn open(target: Target, choice: &Choice) -> Result<Opened, CommandError> {
    let scratch = choice.scratch.clone().unwrap_or_else(default_scratch);
    match target {
        Target::Snapshot(path) => of_file(&path, choice.identity.as_deref(), scratch),
        Target::Set { directory, manifest } => of_set(&directory, &manifest, scratch),
        Target::Archive { path, name } => of_archive(&path, &name, choice, scratch),
    }
}

fn of_file(path: &Path, identity: Option<&Path>, scratch: PathBuf) -> Result<Opened, CommandError> {
    let failed = |source| CommandError::Read { path: path.to_owned(), source };
    let what = path.display().to_string();
    let Plain { reader, packing, encrypted } = content::open(path, identity)?;
    let file = File::open(path).map_err(failed)?;
    if packing == Packing::Plain && !encrypted {
        return opened(what, file, Vec::new(), scratch, None);
    }
    let length = file.metadata().map_err(failed)?.len();
    let Spooled { file, ending } = unpack(&what, reader, length, packing, &scratch, None)?;
    opened(what, file, Vec::new(), scratch, Some(ending))
}

fn of_set(directory: &Path, manifest: &Manifest, scratch: PathBuf) -> Result<Opened, CommandError> {
    let what = manifest.id().to_string();
    let (item, _, _) = snapshot_of(manifest).ok_or_else(|| no_snapshot(&what))?;
    let path = directory.join(&item.path);
    let file = File::open(&path).map_err(|source| CommandError::Read { path, source })?;
    of_stored(what, file, manifest, scratch)
}

fn of_archive(
    path: &Path,
    name: &ArchiveName,
    choice: &Choice,
    scratch: PathBuf,
) -> Result<Opened, CommandError> {
    let what = |set: &SetId| format!("{set} in {name}");
    let progress = progress::of_file("unpacking", path);
    let begin = |manifest: &Manifest| {
        let what = what(&manifest.id());
        let (item, _, size) = snapshot_of(manifest).ok_or_else(|| no_snapshot(&what))?;
        let file = scratch_file(&scratch, size).map_err(|source| unpack_error(&what, &scratch, source))?;
        Ok((item.path.clone(), file))
    };
    let choose = |contents: &Contents| choose(contents, choice);
    let identity = choice.identity.as_deref();
    let extracted = archive_file::extract(path, name, identity, &progress, &choose, &begin);
    progress.finish_and_clear();
    let Some(Extracted { manifest, mut file }) = extracted? else {
        return Err(CommandError::Absent(format!("{name} has no such etcd set")));
    };
    let what = what(&manifest.id());
    file.rewind().map_err(|source| CommandError::Read { path: scratch.clone(), source })?;
    of_stored(what, file, &manifest, scratch)
}

/// The named set, or the best etcd set of the archive.
fn choose(contents: &Contents, choice: &Choice) -> Option<SetId> {
    let sets = contents.sets.iter().filter(|set| match &choice.set {
        Some(wanted) => set.id == *wanted,
        None => set.id.role == Role::Etcd && choice.host.as_ref().is_none_or(|host| set.id.host == *host),
    });
    let count = sets.clone().count();
    let best = best(sets, |set| (set.id.clone(), set.grade))?.id.clone();
    if count > 1 {
        out::print_error(&format!("showing {best}, the best of {count} etcd sets"));
    }
    Some(best)
}

/// Unpacks the snapshot of a set.
fn of_stored(
    what: String,
    packed: File,
    manifest: &Manifest,
    scratch: PathBuf,
) -> Result<Opened, CommandError> {
    let (_, packing, size) = snapshot_of(manifest).ok_or_else(|| no_snapshot(&what))?;
    let spooled =
        unpack(&what, packed, size, packing, &scratch, manifest.etcd.as_ref().map(|etcd| etcd.raw_size))?;
    let faults = differences(manifest, &spooled);
    opened(what, spooled.file, faults, scratch, Some(spooled.ending))
}

/// Unpacks a file of `length` bytes.
fn unpack(
    what: &str,
    packed: impl Read,
    length: u64,
    packing: Packing,
    scratch: &Path,
    raw_size: Option<u64>,
) -> Result<Spooled, CommandError> {
    let progress = progress::of_bytes("unpacking", length);
    let spooled = spool(progress.wrap_read(packed), packing, scratch, raw_size);
    progress.finish_and_clear();
    spooled.map_err(|source| unpack_error(what, scratch, source))
}

fn unpack_error(what: &str, scratch: &Path, source: SpoolError) -> CommandError {
    let what = match source {
        SpoolError::Unpack(_) => format!("cannot unpack {what}"),
        SpoolError::Space(_) | SpoolError::Write { .. } => format!(
            "cannot unpack {what} into {}; choose another directory with --scratch",
            scratch.display()
        ),
    };
    CommandError::failed(what)(source)
}

fn opened(
    what: String,
    file: File,
    faults: Vec<String>,
    scratch: PathBuf,
    ending: Option<Ending>,
) -> Result<Opened, CommandError> {
    let database = Database::open(file).map_err(CommandError::failed(format!("cannot read {what}")))?;
    Ok(Opened { what, database, faults, partly: false, scratch, ending })
}

/// How the unpacked snapshot differs from its manifest.
fn differences(manifest: &Manifest, spooled: &Spooled) -> Vec<String> {
    let Some(etcd) = &manifest.etcd else { return Vec::new() };
    let (length, sha256) = (spooled.ending.length, Digest::from(spooled.ending.sha256));
    if length == etcd.raw_size && sha256 == etcd.raw_sha256 {
        return Vec::new();
    }
    let finding = if length == etcd.raw_size {
        format!("its SHA-256 is {sha256}, but its manifest has {}", etcd.raw_sha256)
    } else {
        format!("its size is {}, but its manifest has {}", bytes(length), bytes(etcd.raw_size))
    };
    vec![finding]
}

fn no_snapshot(what: &str) -> CommandError {
    CommandError::Absent(format!("{what} has no etcd snapshot; only sets of the role etcd have one"))
}

/// Runs a query, and adds the faults of the snapshots to `faults` even if the query fails. A file that was not unpacked is
/// hashed in parallel: the query reads most of it anyway.
pub fn query<const N: usize>(
    mut opened: [Opened; N],
    faults: &mut Vec<String>,
    query: impl FnOnce(&mut [Opened; N]) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let (result, endings) = thread::scope(|scope| {
        let hashing = opened.each_ref().map(|side| {
            let (known, file) = (side.ending, side.database.source().try_clone());
            scope.spawn(move || known.map_or_else(|| Ending::of(&file?), Ok))
        });
        let result = query(&mut opened);
        let panicked = |_| Err(io::Error::other("the hashing thread panicked"));
        (result, hashing.map(|hashing| hashing.join().unwrap_or_else(panicked)))
    });
    for (mut side, ending) in opened.into_iter().zip(endings) {
        match ending {
            Ok(ending) => side.add_faults(side.database.check_ending(&ending, false)),
            Err(error) => side.faults.push(format!("cannot compute its SHA-256: {error}")),
        }
        faults.extend(side.faults.into_iter().map(|fault| format!("{}: {fault}", side.what)));
    }
    result
}
