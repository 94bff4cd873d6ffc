//! Copies one file into the set: it is read once, hashed while it is read, and read again if it changed meanwhile.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jiff::Timestamp;
use nightshift_core::chain;
use nightshift_core::digest::{HashedWriter, Written};
use nightshift_core::manifest::{Item, ItemKind, Manifest, Owner};
use nightshift_store::safe_open::{Missing, open_file, open_parent};
use nightshift_store::{IoContext as _, Partial, SetFile, Spent, StoreError, sync_file};
use rustix::fs::{AtFlags, FileType, Stat, fstat, readlinkat, statat};

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

/// Copies the file, directory or symlink `source` to `path` in the set.
pub fn copy(
    source: &str,
    path: &str,
    partial: &Partial,
    previous: Option<&Manifest>,
) -> Result<Item, CopyError> {
    let source_path = Path::new(source);
    let name = source_path.file_name().ok_or(Missing::Special)?;
    let parent = open_parent(source_path)?;
    let mut stat =
        statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| Missing::of(errno, source_path))?;
    let (kind, changed, selinux) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => (ItemKind::Directory, false, None),
        FileType::Symlink => {
            let target =
                readlinkat(&parent, name, Vec::new()).map_err(|errno| Missing::Other(errno.into()))?;
            let target = target.into_string().map_err(|_| Missing::NotText)?;
            (ItemKind::Symlink { target }, false, None)
        }
        FileType::RegularFile => {
            let mut file = open_file(&parent, name, source_path)?;
            // Another file may have replaced it since.
            stat = fstat(&file).map_err(|errno| Missing::Other(errno.into()))?;
            let (written, changed) = read_into(&mut file, source_path, path, partial)?;
            keep(partial, path, written, previous)?;
            (ItemKind::File { size: written.size, sha256: written.sha256 }, changed, label(&file))
        }
        _ => return Err(Missing::Special.into()),
    };
    Ok(Item {
        path: path.to_owned(),
        source: source.to_owned(),
        kind,
        owner: owner(stat.st_uid, stat.st_gid),
        mode: stat.st_mode & 0o7777,
        modified: modified(&stat),
        selinux,
        changed,
    })
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
            open_file(&parent, name, path).map(drop)
        }
        Ok(_) => Ok(()),
        Err(errno) => Err(Missing::Other(errno.into())),
    }
}

/// Owner and group with their names, because a rebuilt host may have other numbers.
pub fn owner(uid: u32, gid: u32) -> Owner {
    Owner {
        uid,
        gid,
        user: uzers::get_user_by_uid(uid).map(|user| user.name().to_string_lossy().into_owned()),
        group: uzers::get_group_by_gid(gid).map(|group| group.name().to_string_lossy().into_owned()),
    }
}

/// Reads a file into the set, and returns whether it changed while it was read, each time.
fn read_into(
    file: &mut File,
    source: &Path,
    path: &str,
    partial: &Partial,
) -> Result<(Written, bool), CopyError> {
    let mut reads = 1;
    loop {
        let before = file.metadata().on("stat", source)?;
        if !before.is_file() {
            return Err(Missing::Special.into());
        }
        partial.discard(path)?;
        let written = write(file, source, path, partial, before.len())?;
        let after = file.metadata().on("stat", source)?;
        let changed = state(&before) != state(&after) || written.size != after.len();
        if !changed || reads == MAX_READS {
            return Ok((written, changed));
        }
        reads += 1;
        io::Seek::rewind(file).on("rewind", source)?;
    }
}

/// A sparse file, or one that grows while it is read, costs itself and not the set.
fn write(
    file: &mut File,
    source: &Path,
    path: &str,
    partial: &Partial,
    size: u64,
) -> Result<Written, CopyError> {
    partial.budget().allows(size, 1).map_err(|spent| CopyError::TooLarge(spent.to_string()))?;
    let target = HashedWriter::new(partial.create(path)?);
    pump(file, source, target, &partial.path(path)?).or_else(|error| {
        if !Spent::is_cause_of(&error) {
            return Err(error.into());
        }
        partial.discard(path)?;
        Err(CopyError::TooLarge(chain(&error)))
    })
}

/// What differs after a write to a file.
fn state(metadata: &Metadata) -> (u64, i64, i64, i64, i64) {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec())
}

/// Unlike `io::copy`, it distinguishes a failed read from a failed write: the error names the right file.
fn pump(
    from: &mut File,
    source: &Path,
    mut to: HashedWriter<SetFile>,
    target: &Path,
) -> Result<Written, StoreError> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer).on("read", source)? {
            0 => return Ok(to.finish().1),
            read => to.write_all(&buffer[..read]).on("write", target)?,
        }
    }
}

/// Replaces the copy by a hard link to the file of the previous set if that has the same content, else syncs it.
fn keep(
    partial: &Partial,
    path: &str,
    written: Written,
    previous: Option<&Manifest>,
) -> Result<(), StoreError> {
    let kind = ItemKind::File { size: written.size, sha256: written.sha256 };
    let same = previous.filter(|previous| previous.item(path).is_some_and(|item| item.kind == kind));
    if let Some(previous) = same
        && partial.link(&previous.id(), path, path, written)?
    {
        return Ok(());
    }
    let target = partial.path(path)?;
    sync_file(&File::open(&target).on("open", &target)?).on("sync", &target)
}

/// The SELinux label, if the file system stores labels.
fn label(file: &File) -> Option<String> {
    let mut buffer = [0u8; 256];
    let length = rustix::fs::fgetxattr(file, "security.selinux", &mut buffer).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    Some(text.trim_end_matches('\0').to_owned())
}
