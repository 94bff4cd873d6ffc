//! One file into the set: read once, hashed as it is read, read again if it changed meanwhile.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jiff::Timestamp;
use nightshift_core::digest::{HashedWriter, Written};
use nightshift_core::manifest::{Item, ItemKind, Manifest, Owner};
use nightshift_store::safe_open::{Missing, open_file, open_parent};
use nightshift_store::{IoContext as _, Partial, StoreError, sync_file};
use rustix::fs::{AtFlags, FileType, Stat, fstat, readlinkat, statat};

const CHUNK: usize = 256 << 10;
/// A file that changes while it is read is read so often, then taken as it is and marked.
const TRIES: usize = 2;

/// Copies what lies at `source` to `path` in the set. The inner error says why it could not be read.
pub fn copy(
    source: &str,
    path: &str,
    partial: &Partial,
    previous: Option<&Manifest>,
) -> Result<Result<Item, Missing>, StoreError> {
    let source_path = Path::new(source);
    let Some(name) = source_path.file_name() else { return Ok(Err(Missing::Special)) };
    let parent = match open_parent(source_path) {
        Ok(parent) => parent,
        Err(missing) => return Ok(Err(missing)),
    };
    let mut stat = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(errno) => return Ok(Err(Missing::of(errno, source_path))),
    };
    let (kind, changed, selinux) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => (ItemKind::Directory, false, None),
        FileType::Symlink => match readlinkat(&parent, name, Vec::new()) {
            Ok(target) => match target.into_string() {
                Ok(target) => (ItemKind::Symlink { target }, false, None),
                Err(_) => return Ok(Err(Missing::NotText)),
            },
            Err(errno) => return Ok(Err(Missing::Other(errno.into()))),
        },
        FileType::RegularFile => {
            let mut file = match open_file(&parent, name, source_path) {
                Ok(file) => file,
                Err(missing) => return Ok(Err(missing)),
            };
            let selinux = label(&file);
            // Of what is read, for another file may have taken its place since.
            stat = match fstat(&file) {
                Ok(stat) => stat,
                Err(errno) => return Ok(Err(Missing::Other(errno.into()))),
            };
            let (written, changed) = match read_into(&mut file, source_path, path, partial)? {
                Ok(read) => read,
                Err(missing) => return Ok(Err(missing)),
            };
            keep(partial, path, written, previous)?;
            (ItemKind::File { size: written.size, sha256: written.sha256 }, changed, selinux)
        }
        _ => return Ok(Err(Missing::Special)),
    };
    Ok(Ok(item(source, path, &stat, kind, changed, selinux)))
}

/// Whether a file could be read; folders and links need no more than be found.
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

fn item(
    source: &str,
    path: &str,
    stat: &Stat,
    kind: ItemKind,
    changed: bool,
    selinux: Option<String>,
) -> Item {
    Item {
        path: path.to_owned(),
        source: source.to_owned(),
        kind,
        owner: owner(stat.st_uid, stat.st_gid),
        mode: stat.st_mode & 0o7777,
        modified: Timestamp::new(stat.st_mtime, i32::try_from(stat.st_mtime_nsec).unwrap_or(0))
            .unwrap_or(Timestamp::UNIX_EPOCH),
        selinux,
        changed,
    }
}

/// Owner and group with their names, for numbers mean nothing on a rebuilt host.
pub fn owner(uid: u32, gid: u32) -> Owner {
    Owner {
        uid,
        gid,
        user: uzers::get_user_by_uid(uid).map(|user| user.name().to_string_lossy().into_owned()),
        group: uzers::get_group_by_gid(gid).map(|group| group.name().to_string_lossy().into_owned()),
    }
}

/// Reads a file into the set; the flag says that it changed while it was read, each time.
fn read_into(
    file: &mut File,
    source: &Path,
    path: &str,
    partial: &Partial,
) -> Result<Result<(Written, bool), Missing>, StoreError> {
    let mut tries = 1;
    loop {
        let before = file.metadata().on("stat", source)?;
        if !before.is_file() {
            return Ok(Err(Missing::Special));
        }
        partial.discard(path)?;
        let target = HashedWriter::new(partial.create(path)?);
        let written = pump(file, source, target, &partial.path(path)?)?;
        let after = file.metadata().on("stat", source)?;
        let changed = state(&before) != state(&after) || written.size != after.len();
        if !changed || tries == TRIES {
            return Ok(Ok((written, changed)));
        }
        tries += 1;
        io::Seek::rewind(file).on("rewind", source)?;
    }
}

/// What differs when somebody wrote to a file.
fn state(metadata: &Metadata) -> (u64, i64, i64, i64, i64) {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec())
}

/// Copies by hand, because an error must name the file that it is about.
fn pump(
    from: &mut File,
    source: &Path,
    mut to: HashedWriter<File>,
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

/// Replaces the copy by a link to last night's where that holds the same bytes; syncs it where not.
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

/// The SELinux label, where the file system has one.
fn label(file: &File) -> Option<String> {
    let mut buffer = [0u8; 256];
    let length = rustix::fs::fgetxattr(file, "security.selinux", &mut buffer).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    Some(text.trim_end_matches('\0').to_owned())
}
