//! A snapshot that can be read in place: a file as it is, or what a set or an archive holds, unpacked aside.

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};
use std::thread;

use indicatif::{ProgressBar, ProgressStyle};
use nightshift_archive::Contents;
use nightshift_core::archive::ArchiveName;
use nightshift_core::digest::Digest;
use nightshift_core::manifest::Manifest;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::units::bytes;
use nightshift_snapshot::{Database, Ending, ReadAt as _};
use nightshift_store::best;
use nightshift_store::packing::{Packing, snapshot_of};
use nightshift_store::spool::{SpoolError, Spooled, scratch_file, spool};
use nightshift_store::verify::raw_size;

use super::target::Target;
use crate::args::Choice;
use crate::commands::CommandError;
use crate::commands::archive_file::{self, Extracted};
use crate::out;

pub struct Opened {
    /// What it is called in messages.
    pub what: String,
    pub database: Database<File>,
    /// What is wrong with it so far.
    pub doubts: Vec<String>,
    /// Whether parts of it could not be read: what is not found may be there.
    pub partly: bool,
    pub scratch: PathBuf,
    /// How it ends, where all of it was hashed while it was unpacked.
    ending: Option<Ending>,
}

/// Opens the snapshot of what was named.
pub fn open(target: Target, choice: &Choice) -> Result<Opened, CommandError> {
    let scratch = scratch(choice);
    match target {
        Target::Snapshot(path) => of_file(&path, scratch),
        Target::Set { folder, manifest } => of_set(&folder, &manifest, scratch),
        Target::Archive { path, name } => of_archive(&path, &name, choice, scratch),
    }
}

/// /var/tmp and not /tmp, which is memory on many hosts.
pub fn scratch(choice: &Choice) -> PathBuf {
    let told = choice.scratch.clone().or_else(|| std::env::var_os("TMPDIR").map(PathBuf::from));
    told.unwrap_or_else(|| PathBuf::from("/var/tmp"))
}

fn of_file(path: &Path, scratch: PathBuf) -> Result<Opened, CommandError> {
    let failed = |source| CommandError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut head = [0; 4];
    let read = file.read_at(&mut head, 0).map_err(failed)?;
    let what = path.display().to_string();
    let packing = Packing::of(&head[..read]);
    if packing == Packing::Plain {
        return opened(what, file, Vec::new(), scratch, None);
    }
    let length = file.metadata().map_err(failed)?.len();
    let Spooled { file, ending } = unpack(&what, file, length, packing, &scratch, None)?;
    opened(what, file, Vec::new(), scratch, Some(ending))
}

fn of_set(folder: &Path, manifest: &Manifest, scratch: PathBuf) -> Result<Opened, CommandError> {
    let what = manifest.id().to_string();
    let (item, _, _) = snapshot_of(manifest).ok_or_else(|| no_snapshot(&what))?;
    let path = folder.join(&item.path);
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
    let progress = progress(std::fs::metadata(path).map_or(0, |metadata| metadata.len()));
    let begin = |manifest: &Manifest| {
        let what = what(&manifest.id());
        let (item, _, size) = snapshot_of(manifest).ok_or_else(|| no_snapshot(&what))?;
        let file = scratch_file(&scratch, size).map_err(|source| unpack_error(&what, &scratch, source))?;
        Ok((item.path.clone(), file))
    };
    let extracted = archive_file::extract(
        path,
        name,
        choice.identity.as_deref(),
        &progress,
        |contents| choose(contents, choice),
        begin,
    );
    progress.finish_and_clear();
    let Some(Extracted { manifest, mut file }) = extracted? else {
        return Err(CommandError::Absent(format!("{name} has no such etcd set")));
    };
    let what = what(&manifest.id());
    file.rewind().map_err(|source| CommandError::Read { path: scratch.clone(), source })?;
    of_stored(what, file, &manifest, scratch)
}

/// The set that was named, or the best etcd set of the archive.
fn choose(contents: &Contents, choice: &Choice) -> Option<SetId> {
    let sets = contents.sets.iter().filter(|set| match &choice.set {
        Some(wanted) => set.id == *wanted,
        None => set.id.role == Role::Etcd && choice.host.as_ref().is_none_or(|host| set.id.host == *host),
    });
    let count = sets.clone().count();
    let best = best(sets, |set| (set.id.clone(), set.grade))?.id.clone();
    if count > 1 {
        out::complain(&format!("inspecting {best}, the best of {count} etcd sets"));
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
    let spooled = unpack(&what, packed, size, packing, &scratch, raw_size(manifest))?;
    let doubts = differences(manifest, &spooled);
    opened(what, spooled.file, doubts, scratch, Some(spooled.ending))
}

/// Unpacks a file of `length` bytes.
fn unpack(
    what: &str,
    packed: File,
    length: u64,
    packing: Packing,
    scratch: &Path,
    raw_size: Option<u64>,
) -> Result<Spooled, CommandError> {
    let progress = progress(length);
    let spooled = spool(progress.wrap_read(packed), packing, scratch, raw_size);
    progress.finish_and_clear();
    spooled.map_err(|source| unpack_error(what, scratch, source))
}

fn unpack_error(what: &str, scratch: &Path, source: SpoolError) -> CommandError {
    let what = what.to_owned();
    match source {
        SpoolError::Unpack(_) => CommandError::Unpack { what, source },
        SpoolError::Space(_) | SpoolError::Write { .. } => {
            CommandError::UnpackInto { what, scratch: scratch.to_owned(), source }
        }
    }
}

fn opened(
    what: String,
    file: File,
    doubts: Vec<String>,
    scratch: PathBuf,
    ending: Option<Ending>,
) -> Result<Opened, CommandError> {
    match Database::open(file) {
        Ok(database) => Ok(Opened { what, database, doubts, partly: false, scratch, ending }),
        Err(source) => Err(CommandError::Snapshot { what, source }),
    }
}

/// How what was unpacked differs from what the manifest says.
fn differences(manifest: &Manifest, spooled: &Spooled) -> Vec<String> {
    let Some(etcd) = &manifest.etcd else { return Vec::new() };
    let (length, sha256) = (spooled.ending.length, Digest::from(spooled.ending.sha256));
    if length == etcd.raw_size && sha256 == etcd.raw_sha256 {
        return Vec::new();
    }
    let finding = if length == etcd.raw_size {
        format!("its SHA-256 is {sha256} where its manifest says {}", etcd.raw_sha256)
    } else {
        format!("it has {} where its manifest says {}", bytes(length), bytes(etcd.raw_size))
    };
    vec![finding]
}

fn no_snapshot(what: &str) -> CommandError {
    CommandError::Absent(format!("{what} holds no etcd snapshot: only sets of the role etcd do"))
}

pub fn progress(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("unpacking {bar:30} {bytes}/{total_bytes} {eta}");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Asks something of what was opened, and adds to `doubts` what is wrong with it, be it answered or not. A file that
/// was not unpacked is hashed meanwhile: `get` goes through all keys as well.
pub fn ask<const N: usize>(
    mut opened: [Opened; N],
    doubts: &mut Vec<String>,
    question: impl FnOnce(&mut [Opened; N]) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let (answered, endings) = thread::scope(|scope| {
        let hashing = opened.each_ref().map(|side| {
            let (known, file) = (side.ending, side.database.source().try_clone());
            scope.spawn(move || known.map_or_else(|| Ending::of(&file?), Ok))
        });
        let answered = question(&mut opened);
        let broken = |_| Err(io::Error::other("the thread that hashes broke down"));
        (answered, hashing.map(|hashing| hashing.join().unwrap_or_else(broken)))
    });
    for (mut side, ending) in opened.into_iter().zip(endings) {
        match ending {
            Ok(ending) => side.doubt(side.database.check_ending(&ending)),
            Err(error) => side.doubts.push(format!("its SHA-256 cannot be made: {error}")),
        }
        doubts.extend(side.doubts.into_iter().map(|doubt| format!("{}: {doubt}", side.what)));
    }
    answered
}
