//! Copies one file into the set: it is read once, hashed while it is read, and read again if it changed meanwhile.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jiff::Timestamp;
use nightshift_core::access::Access;
use nightshift_core::chain;
use nightshift_core::digest::{HashedWriter, Written};
use nightshift_core::manifest::{Item, ItemKind};
use nightshift_store::access::{self, label, label_of_link, owner};
use nightshift_store::safe_open::{Missing, open_directory, open_file, open_parent};
use nightshift_store::space::SpaceError;
use nightshift_store::{IoContext as _, Partial, SetFile, StoreError, sync_file};
use rustix::fs::{AtFlags, FileType, Stat, fstat, readlinkat, statat};

use super::previous::Previous;

/// The size of a read, in bytes.
const CHUNK: usize = 256 << 10;
/// How often a file is read that changes while it is read. The last copy is kept and marked.
const MAX_READS: usize = 2;

/// Why a file was not copied: it cannot be read, or the set cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The set has no space for it.
    #[error("left out: {0}")]
    TooLarge(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Copies the file, directory or symlink `source` to `path` in the set. Returns also what of it is missing.
pub fn copy(
    source: &str,
    path: &str,
    partial: &Partial,
    previous: &Previous,
) -> Result<(Item, Option<String>), CopyError> {
    let source_path = Path::new(source);
    let name = source_path.file_name().ok_or(Missing::Special)?;
    let parent = open_parent(source_path)?;
    let mut stat =
        statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| Missing::of(errno, source_path))?;
    let ((access, fault), selinux);
    let (kind, changed) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let directory = open_directory(source_path)?;
            ((access, fault), selinux) = (access::read(&directory), label(&directory));
            (ItemKind::Directory, false)
        }
        FileType::Symlink => {
            let target =
                readlinkat(&parent, name, Vec::new()).map_err(|errno| Missing::Other(errno.into()))?;
            let target = target.into_string().map_err(|_| Missing::NotText)?;
            // A link has neither an ACL nor a capability of its own.
            ((access, fault), selinux) = ((Access::default(), None), label_of_link(&parent, name));
            (ItemKind::Symlink { target }, false)
        }
        FileType::RegularFile => {
            let mut file = open_file(&parent, name, source_path)?;
            // Another file may have replaced it since.
            stat = fstat(&file).map_err(|errno| Missing::Other(errno.into()))?;
            refuse_foreign_link(&parent, &stat)?;
            let (written, changed) = read_into(&mut file, path, partial)?;
            keep(partial, path, written, previous)?;
            ((access, fault), selinux) = (access::read(&file), label(&file));
            (ItemKind::File { size: written.size, sha256: written.sha256 }, changed)
        }
        _ => return Err(Missing::Special.into()),
    };
    let mode = stat.st_mode & 0o7777;
    let item = Item {
        path: path.to_owned(),
        source: source.to_owned(),
        kind,
        owner: owner(stat.st_uid, stat.st_gid),
        mode: access.acl.as_ref().map_or(mode, |acl| acl.mode_without_it(mode)),
        modified: modified(&stat),
        selinux,
        access,
        changed,
    };
    Ok((item, fault))
}

/// Where any user may make a hard link to any file (`fs.protected_hardlinks = 0`), one in a user's directory may be a file that only
/// root can read.
fn refuse_foreign_link(parent: &OwnedFd, stat: &Stat) -> Result<(), Missing> {
    let directory = fstat(parent).map_err(|errno| Missing::Other(errno.into()))?;
    if stat.st_nlink > 1 && stat.st_uid != directory.st_uid { Err(Missing::ForeignLink) } else { Ok(()) }
}

fn modified(stat: &Stat) -> Timestamp {
    let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Timestamp::new(stat.st_mtime, nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Whether a file can be read. For directories and symlinks it is enough that they exist.
pub fn can_read(source: &str) -> Result<(), Missing> {
    let path = Path::new(source);
    let parent = open_parent(path)?;
    let Some(name) = path.file_name() else { return Ok(()) };
    match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => {
            open_file(&parent, name, path)?;
            refuse_foreign_link(&parent, &stat)
        }
        Ok(_) => Ok(()),
        Err(errno) => Err(Missing::Other(errno.into())),
    }
}

/// Reads a file into the set, and returns whether it changed while it was read, each time.
fn read_into(file: &mut File, path: &str, partial: &Partial) -> Result<(Written, bool), CopyError> {
    let mut reads = 1;
    loop {
        let before = file.metadata().map_err(Missing::Other)?;
        if !before.is_file() {
            return Err(Missing::Special.into());
        }
        partial.discard(path)?;
        let written = write(file, path, partial, before.len())?;
        let after = file.metadata().map_err(Missing::Other)?;
        let changed = state(&before) != state(&after) || written.size != after.len();
        if !changed || reads == MAX_READS {
            return Ok((written, changed));
        }
        reads += 1;
        io::Seek::rewind(file).map_err(Missing::Other)?;
    }
}

/// A file that cannot be read to its end, a sparse one, or one that grows while it is read costs itself and not the set.
fn write(file: &mut File, path: &str, partial: &Partial, size: u64) -> Result<Written, CopyError> {
    partial.budget().reserve(size, 1).map_err(|error| CopyError::TooLarge(chain(&error)))?;
    let copied = partial
        .create(path)
        .map_err(CopyError::from)
        .and_then(|target| pump(file, HashedWriter::new(target), &partial.path(path)?));
    match copied {
        Err(CopyError::Store(error)) if SpaceError::is_cause_of_store(&error) => {
            partial.discard(path)?;
            Err(CopyError::TooLarge(chain(&error)))
        }
        Err(error @ CopyError::Missing(_)) => {
            partial.discard(path)?;
            Err(error)
        }
        copied => copied,
    }
}

/// What differs after a write to a file.
fn state(metadata: &Metadata) -> (u64, i64, i64, i64, i64) {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec())
}

/// Unlike `io::copy`, it distinguishes a failed read, which costs the file, from a failed write.
fn pump(from: &mut File, mut to: HashedWriter<SetFile>, target: &Path) -> Result<Written, CopyError> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer).map_err(Missing::Other)? {
            0 => return Ok(to.finish().1),
            read => to.write_all(&buffer[..read]).on("write", target)?,
        }
    }
}

/// Replaces the copy by a hard link to the file of the previous set if that has the same content, else syncs it.
fn keep(partial: &Partial, path: &str, written: Written, previous: &Previous) -> Result<(), StoreError> {
    if previous.link(partial, path, written)? {
        return Ok(());
    }
    let target = partial.path(path)?;
    sync_file(&File::open(&target).on("open", &target)?).on("sync", &target)
}
