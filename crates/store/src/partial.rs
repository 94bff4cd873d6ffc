//! A set that is being written: `.<role>.partial`, never read by anyone else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nightshift_core::digest::{Digest, HashedWriter, Written};
use nightshift_core::manifest::is_safe_path;
use nightshift_core::set_path::SetId;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::fault::{IoContext as _, StoreError};
use crate::layout::{Vault, create_folders};
use crate::sync::sync_file;

/// How much is read at a time when a stored file is hashed.
const CHUNK: usize = 256 << 10;
/// Tells links apart that are being made side by side.
static LINKS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone)]
pub struct Partial {
    vault: Vault,
    set: SetId,
    folder: PathBuf,
    guard: Guard,
}

/// Held by everyone who writes to a partial set, threads that outlive their stage included: as long as one is
/// left, nobody else begins or resumes the set, and no sweep removes it.
#[derive(Debug, Clone)]
pub struct Guard {
    _lock: Arc<File>,
}

impl Guard {
    /// `None` where somebody holds it.
    pub(crate) fn take(folder: &Path) -> Result<Option<Self>, StoreError> {
        let lock = File::open(folder).on("open", folder)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(None),
            // A file system without locks leaves it to the stages, which do not share a set.
            Ok(()) | Err(_) => Ok(Some(Self { _lock: Arc::new(lock) })),
        }
    }
}

impl Vault {
    /// Begins a set from nothing: what an earlier try left is removed.
    pub fn begin(&self, set: &SetId) -> Result<Partial, StoreError> {
        let partial = self.resume(set)?;
        partial.clear()?;
        Ok(partial)
    }

    /// Goes on with what an earlier try left, if it left anything.
    pub fn resume(&self, set: &SetId) -> Result<Partial, StoreError> {
        if self.holds(set) {
            return Err(StoreError::Published(set.clone()));
        }
        let folder = self.root().join(set.partial());
        create_folders(&folder)?;
        let guard = Guard::take(&folder)?.ok_or_else(|| StoreError::Busy(set.clone()))?;
        // Whoever held it until now may have published.
        if self.holds(set) {
            return Err(StoreError::Published(set.clone()));
        }
        Ok(Partial { vault: self.clone(), set: set.clone(), folder, guard })
    }
}

impl Partial {
    pub const fn set(&self) -> &SetId {
        &self.set
    }

    pub(crate) const fn vault(&self) -> &Vault {
        &self.vault
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes all that was written to it.
    pub fn clear(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.folder).on("list", &self.folder)? {
            let path = entry.on("list", &self.folder)?.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.on("remove", &path)?;
        }
        Ok(())
    }

    /// For a thread that goes on writing to the set on its own.
    pub fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// The place of an item. Manifests are checked when they are decoded; this keeps to it whatever came.
    pub fn path(&self, item: &str) -> Result<PathBuf, StoreError> {
        let path = self.folder.join(item);
        if is_safe_path(item) {
            Ok(path)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not a path within a set")).on("write", &path)
        }
    }

    /// A fresh file in the set, with the folders above it.
    pub fn create(&self, item: &str) -> Result<File, StoreError> {
        let path = self.path(item)?;
        if let Some(parent) = path.parent() {
            create_folders(parent)?;
        }
        OpenOptions::new().write(true).create_new(true).mode(0o640).open(&path).on("create", &path)
    }

    /// Writes a whole small file, synced.
    pub fn write(&self, item: &str, bytes: &[u8]) -> Result<Written, StoreError> {
        let path = self.path(item)?;
        let mut file = self.create(item)?;
        file.write_all(bytes).on("write", &path)?;
        sync_file(&file).on("sync", &path)?;
        Ok(Written { size: bytes.len() as u64, sha256: Digest::of(bytes) })
    }

    /// Removes what stands at an item's place, if anything does.
    pub fn discard(&self, item: &str) -> Result<(), StoreError> {
        remove_if_there(&self.path(item)?)
    }

    /// Takes an item from an earlier set by a hard link, when that holds exactly these bytes: they are
    /// hashed again now, so a copy that went bad is never passed on. False where there is no such copy.
    pub fn link(
        &self,
        earlier: &SetId,
        earlier_item: &str,
        item: &str,
        wanted: Written,
    ) -> Result<bool, StoreError> {
        let source = self.vault.folder(earlier).join(earlier_item);
        let Ok(stored) = hash_file(&source) else { return Ok(false) };
        if stored != wanted {
            return Ok(false);
        }
        let path = self.path(item)?;
        if let Some(parent) = path.parent() {
            create_folders(parent)?;
        }
        // Made aside and renamed, so that a copy that stands at its place is there until the link is.
        let number = LINKS.fetch_add(1, Ordering::Relaxed);
        let aside = self.folder.with_file_name(format!(".{}.{number}.link", self.set.dir_name()));
        remove_if_there(&aside)?;
        match fs::hard_link(&source, &aside) {
            Ok(()) => {
                fs::rename(&aside, &path).on("rename", &path)?;
                // A rename of one link over another of the same inode does nothing at all.
                remove_if_there(&aside)?;
                Ok(true)
            }
            // Too many links, another file system, or one that knows no links: a copy will do.
            Err(error) if error.kind() != io::ErrorKind::StorageFull => Ok(false),
            Err(error) => Err(error).on("link", &path),
        }
    }

    /// What an earlier try left of an item, hashed again; `None` where it left nothing whole. Synced, for the try
    /// may have been killed before it was.
    pub fn left_over(&self, item: &str) -> Option<Written> {
        let file = File::open(self.path(item).ok()?).ok()?;
        sync_file(&file).ok()?;
        Some(hash(&file).ok()?.finish().1)
    }

    /// The file that an interrupted transfer left, to be continued at its end; what it contains is hashed.
    pub fn reopen(&self, item: &str) -> Result<Option<HashedWriter<File>>, StoreError> {
        let path = self.path(item)?;
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.nlink() == 1 => {}
            // A link into a published set is never opened for writing.
            Ok(_) => {
                self.discard(item)?;
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).on("stat", &path),
        }
        let file = OpenOptions::new().read(true).append(true).open(&path).on("open", &path)?;
        let hashed = hash(&file).on("read", &path)?;
        Ok(Some(hashed.continue_into(file)))
    }
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).on("remove", path),
        _ => Ok(()),
    }
}

/// Hashes a stored file.
pub fn hash_file(path: &Path) -> io::Result<Written> {
    Ok(hash(&File::open(path)?)?.finish().1)
}

fn hash(file: &File) -> io::Result<HashedWriter<io::Sink>> {
    let mut hashed = HashedWriter::new(io::sink());
    io::copy(&mut BufReader::with_capacity(CHUNK, file), &mut hashed)?;
    Ok(hashed)
}
