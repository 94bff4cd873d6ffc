//! A set that is being written: `.<role>.partial`, never read by anyone else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nightshift_core::digest::{Digest, Hasher};
use nightshift_core::manifest::is_safe_path;
use nightshift_core::set_path::SetId;

use super::fault::{IoContext as _, StoreError};
use super::layout::Vault;
use super::sync::sync_file;

/// How much is read at a time when a stored file is hashed.
const CHUNK: usize = 256 << 10;

#[derive(Debug)]
pub struct Partial {
    vault: Vault,
    set: SetId,
    folder: PathBuf,
}

/// A file as it was written: what its manifest will say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub size: u64,
    pub sha256: Digest,
}

impl Vault {
    /// Begins a set from nothing: what an earlier try left is removed.
    pub fn begin(&self, set: &SetId) -> Result<Partial, StoreError> {
        let partial = self.resume(set)?;
        fs::remove_dir_all(&partial.folder).on("remove", &partial.folder)?;
        fs::create_dir(&partial.folder).on("create", &partial.folder)?;
        Ok(partial)
    }

    /// Goes on with what an earlier try left, if it left anything.
    pub fn resume(&self, set: &SetId) -> Result<Partial, StoreError> {
        if self.holds(set) {
            return Err(StoreError::Published(set.clone()));
        }
        let folder = self.root().join(set.partial());
        fs::create_dir_all(&folder).on("create", &folder)?;
        Ok(Partial { vault: self.clone(), set: set.clone(), folder })
    }
}

impl Partial {
    pub const fn set(&self) -> &SetId {
        &self.set
    }

    pub(super) const fn vault(&self) -> &Vault {
        &self.vault
    }

    pub fn folder(&self) -> &Path {
        &self.folder
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
            fs::create_dir_all(parent).on("create", parent)?;
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
            fs::create_dir_all(parent).on("create", parent)?;
        }
        // Made aside and renamed, so that a copy that stands at its place is there until the link is.
        let aside = self.folder.with_extension("link");
        remove_if_there(&aside)?;
        match fs::hard_link(&source, &aside) {
            Ok(()) => fs::rename(&aside, &path).on("rename", &path).map(|()| true),
            // Too many links, another file system, or one that knows no links: a copy will do.
            Err(error) if error.kind() != io::ErrorKind::StorageFull => Ok(false),
            Err(error) => Err(error).on("link", &path),
        }
    }

    /// What an earlier try left of an item, hashed again; `None` where it left nothing whole.
    pub fn left_over(&self, item: &str) -> Option<Written> {
        self.path(item).ok().and_then(|path| hash_file(&path).ok())
    }

    /// The file an interrupted transfer left, to be written on: its length, and the hash so far.
    pub fn reopen(&self, item: &str) -> Result<Option<(File, u64, Hasher)>, StoreError> {
        let path = self.path(item)?;
        let opened = OpenOptions::new().read(true).append(true).open(&path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).on("open", &path),
        };
        // A link into a published set is never written to.
        if file.metadata().on("stat", &path)?.nlink() != 1 {
            drop(file);
            self.discard(item)?;
            return Ok(None);
        }
        let mut hasher = Hasher::default();
        let length = hash_into(&mut file, &mut hasher).on("read", &path)?;
        Ok(Some((file, length, hasher)))
    }
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).on("remove", path),
        _ => Ok(()),
    }
}

/// Hashes a stored file.
pub(crate) fn hash_file(path: &Path) -> io::Result<Written> {
    let mut hasher = Hasher::default();
    let size = hash_into(&mut File::open(path)?, &mut hasher)?;
    Ok(Written { size, sha256: hasher.finish() })
}

fn hash_into(file: &mut File, hasher: &mut Hasher) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(size),
            read => {
                hasher.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
}
