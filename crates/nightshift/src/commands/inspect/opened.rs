//! A snapshot that can be read in place: a file as it is, or what a set or an archive holds, unpacked aside.

use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::thread;

use indicatif::{ProgressBar, ProgressStyle};
use nightshift_archive::visit_blocking;
use nightshift_core::archive::ArchiveName;
use nightshift_core::digest::Digest;
use nightshift_core::manifest::Manifest;
use nightshift_core::units::bytes;
use nightshift_snapshot::{Database, Ending, ReadAt as _};
use nightshift_store::spool::{Packing, Spool, SpoolError, Spooled, snapshot_of};
use nightshift_store::verify::raw_size;

use super::picker::Picker;
use super::target::Target;
use crate::args::Choice;
use crate::commands::{CommandError, archive_file};

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
    let mut file = File::open(path).map_err(failed)?;
    let mut head = [0; 4];
    let read = file.read_at(&mut head, 0).map_err(failed)?;
    let what = path.display().to_string();
    let packing = Packing::of(&head[..read]);
    if packing == Packing::Plain {
        return opened(what, file, Vec::new(), scratch, None);
    }
    let unpacking = Unpacking { what: &what, scratch: &scratch };
    let spool = unpacking.begin(packing, None)?;
    let length = file.metadata().map_err(failed)?.len();
    let spooled = unpacking.copy(&mut file, path, length, spool)?;
    opened(what, spooled.file, Vec::new(), scratch, Some(spooled.ending))
}

fn of_set(folder: &Path, manifest: &Manifest, scratch: PathBuf) -> Result<Opened, CommandError> {
    let what = manifest.id().to_string();
    let (item, packing, size) = snapshot_of(manifest).ok_or_else(|| no_snapshot(&what))?;
    let path = folder.join(&item.path);
    let mut file = File::open(&path).map_err(|source| CommandError::Read { path: path.clone(), source })?;
    let unpacking = Unpacking { what: &what, scratch: &scratch };
    let spool = unpacking.begin(packing, raw_size(manifest))?;
    let spooled = unpacking.copy(&mut file, &path, size, spool)?;
    let doubts = differences(manifest, &spooled);
    opened(what, spooled.file, doubts, scratch, Some(spooled.ending))
}

fn of_archive(
    path: &Path,
    name: &ArchiveName,
    choice: &Choice,
    scratch: PathBuf,
) -> Result<Opened, CommandError> {
    let progress = progress(std::fs::metadata(path).map_or(0, |metadata| metadata.len()));
    let reader = archive_file::open(path, name, choice.identity.as_deref(), &progress)?;
    let mut picker = Picker::new(choice, &scratch);
    let visited = visit_blocking(reader, name, &mut picker);
    progress.finish_and_clear();
    let Picker { set, snapshot, refused, .. } = picker;
    let Some(set) = set else {
        // An archive that does not even name its sets says why itself.
        visited.map_err(|source| CommandError::Archive { path: path.to_owned(), source })?;
        return Err(CommandError::Absent(format!("{name} holds no etcd set that was asked for")));
    };
    let what = format!("{set} in {name}");
    let unpacking = Unpacking { what: &what, scratch: &scratch };
    if let Some(refused) = refused {
        return Err(unpacking.failed(refused));
    }
    visited.map_err(|source| CommandError::Archive { path: path.to_owned(), source })?;
    let snapshot = snapshot.ok_or_else(|| no_snapshot(&what))?;
    let spooled = snapshot.spool.finish().map_err(|source| unpacking.failed(source))?;
    let doubts = differences(&snapshot.manifest, &spooled);
    opened(what, spooled.file, doubts, scratch, Some(spooled.ending))
}

struct Unpacking<'u> {
    what: &'u str,
    scratch: &'u Path,
}

impl Unpacking<'_> {
    fn begin(&self, packing: Packing, expected: Option<u64>) -> Result<Spool, CommandError> {
        Spool::new(self.scratch, packing, expected).map_err(|source| self.failed(source))
    }

    /// Unpacks a file of so many bytes.
    fn copy(
        &self,
        file: &mut File,
        path: &Path,
        length: u64,
        mut spool: Spool,
    ) -> Result<Spooled, CommandError> {
        let progress = progress(length);
        let mut reader = BufReader::with_capacity(256 << 10, progress.wrap_read(file));
        let copied =
            copy(&mut reader, &mut spool, path, |source| self.failed(SpoolError::Unfinished(source)));
        progress.finish_and_clear();
        copied?;
        spool.finish().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: SpoolError) -> CommandError {
        let what = self.what.to_owned();
        match source {
            SpoolError::Unfinished(_) => CommandError::Unpack { what, source },
            _ => CommandError::UnpackInto { what, scratch: self.scratch.to_owned(), source },
        }
    }
}

/// Copies all, and tells what could not be read from what could not be unpacked.
fn copy(
    reader: &mut impl io::Read,
    spool: &mut Spool,
    path: &Path,
    failed: impl Fn(io::Error) -> CommandError,
) -> Result<(), CommandError> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => spool.write_all(&buffer[..read]).map_err(&failed)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(CommandError::Read { path: path.to_owned(), source }),
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
