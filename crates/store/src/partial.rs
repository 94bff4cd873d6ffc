//! A set that is being written, in `.<role>.partial`, where nothing reads it.

use std::fs::{self, DirEntry, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nightshift_core::digest::{Digest, HashedWriter, Written};
use nightshift_core::manifest::is_safe_path;
use nightshift_core::set_path::SetId;

use crate::budget::{Budget, SetFile};
use crate::directory::{create_directories, list, remove_file, remove_tree};
use crate::fault::{IoContext as _, StoreError};
use crate::layout::Vault;
use crate::read::{open_below, open_regular};
use crate::space::Amount;
use crate::sync::sync_file;

/// Bytes that are read at a time when a stored file is hashed.
const CHUNK: usize = 256 << 10;
/// Makes the temporary names of links differ that are created at the same time.
static LINKS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone)]
pub struct Partial {
    vault: Vault,
    set: SetId,
    directory: PathBuf,
    guard: Guard,
    budget: Budget,
    /// Files of a set are created at the same time, and a directory above several of them counts once.
    directories: Arc<Mutex<()>>,
}

/// The lock of a partial set. Every writer has a clone, also threads that outlive their stage: until the last is dropped, no
/// other run starts or resumes the set, and no sweep removes it.
#[derive(Debug, Clone)]
pub struct Guard {
    _lock: Arc<File>,
}

impl Guard {
    /// `None` where another run has it.
    pub(crate) fn take(directory: &Path) -> Result<Option<Self>, StoreError> {
        let lock = File::open(directory).on("open", directory)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            // On a file system without locks, the daemon alone prevents that two stages write the same set.
            Ok(()) | Err(_) => Ok(Some(Self { _lock: Arc::new(lock) })),
        }
    }
}

impl Vault {
    /// The budget of a set of at most `max`, which leaves so many bytes free. Nothing is reserved yet.
    pub fn budget(&self, leave: u64, max: Amount) -> Budget {
        Budget::new(self.root(), self.reservations(), leave, max)
    }

    /// Starts a set; what an earlier attempt left of it is removed.
    pub fn begin(&self, set: &SetId) -> Result<Partial, StoreError> {
        let partial = self.resume(set)?;
        partial.clear()?;
        Ok(partial)
    }

    /// Continues with what an earlier attempt left, if there is anything.
    pub fn resume(&self, set: &SetId) -> Result<Partial, StoreError> {
        if self.contains(set) {
            return Err(StoreError::Published(set.clone()));
        }
        self.ensure_mark()?;
        let directory = self.root().join(set.partial());
        create_directories(&directory)?;
        let guard = Guard::take(&directory)?.ok_or_else(|| StoreError::Busy(set.clone()))?;
        // The run that had the lock until now may have published it.
        if self.contains(set) {
            return Err(StoreError::Published(set.clone()));
        }
        let budget = Budget::unlimited();
        Ok(Partial {
            vault: self.clone(),
            set: set.clone(),
            directory,
            guard,
            budget,
            directories: Arc::default(),
        })
    }
}

impl Partial {
    /// The same set with a limit: what is created and written from now on draws from the budget.
    pub fn within(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    pub const fn set(&self) -> &SetId {
        &self.set
    }

    pub(crate) const fn vault(&self) -> &Vault {
        &self.vault
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Removes everything in it.
    pub fn clear(&self) -> Result<(), StoreError> {
        list(&self.directory)?
            .iter()
            .map(DirEntry::path)
            .try_for_each(|path| if path.is_dir() { remove_tree(&path) } else { remove_file(&path) })
    }

    /// For a thread that may write longer than this lives.
    pub fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// Where an item is. Decoding a manifest checks its paths; this refuses what gets past that.
    pub fn path(&self, item: &str) -> Result<PathBuf, StoreError> {
        let path = self.directory.join(item);
        if is_safe_path(item) {
            Ok(path)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not a path inside a set")).on("write", &path)
        }
    }

    /// Creates a file in the set, with the directories above it.
    pub fn create(&self, item: &str) -> Result<SetFile, StoreError> {
        let path = self.path(item)?;
        let parents = self.create_parents(&path)?;
        self.budget.draw(0, parents + 1).map_err(io::Error::from).on("create", &path)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&path);
        Ok(SetFile::new(file.on("create", &path)?, self.budget.clone()))
    }

    /// Creates the directories above an item. Returns how many were missing.
    fn create_parents(&self, item: &Path) -> Result<u64, StoreError> {
        let Some(parent) = item.parent() else { return Ok(0) };
        let _one_at_a_time = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = parent.ancestors().take_while(|directory| !directory.exists()).count() as u64;
        self.budget.reserve(0, missing).map_err(io::Error::from).on("create", parent)?;
        create_directories(parent)?;
        Ok(missing)
    }

    /// Writes a whole small file, synced.
    pub fn write(&self, item: &str, bytes: &[u8]) -> Result<Written, StoreError> {
        let path = self.path(item)?;
        let mut file = self.create(item)?;
        file.write_all(bytes).on("write", &path)?;
        sync_file(file.as_ref()).on("sync", &path)?;
        Ok(Written { size: bytes.len() as u64, sha256: Digest::of(bytes) })
    }

    /// Removes an item, if it is there.
    pub fn discard(&self, item: &str) -> Result<(), StoreError> {
        let path = self.path(item)?;
        // A file that another set has too frees nothing, and drew nothing.
        let size = fs::symlink_metadata(&path).map_or(0, |it| if it.nlink() == 1 { it.len() } else { 0 });
        remove_file(&path)?;
        self.budget.give_back(size);
        Ok(())
    }

    /// Links an item of an earlier set into this one, if it is `wanted`: it is hashed now, so that a damaged file does not
    /// get into another set. False where there is no such file.
    pub fn link(
        &self,
        earlier: &SetId,
        earlier_item: &str,
        item: &str,
        wanted: Written,
    ) -> Result<bool, StoreError> {
        let earlier = self.vault.directory(earlier);
        let source = earlier.join(earlier_item);
        let stored = open_below(&earlier, earlier_item).and_then(|file| hash_open(&file));
        if stored.ok() != Some(wanted) {
            return Ok(false);
        }
        let path = self.path(item)?;
        let parents = self.create_parents(&path)?;
        self.budget.draw(0, parents).map_err(io::Error::from).on("link", &path)?;
        // Created under another name and renamed, so that an existing file stays until the link replaces it.
        let number = LINKS.fetch_add(1, Ordering::Relaxed);
        let aside = self.directory.with_file_name(format!(".{}.{number}.link", self.set.dir_name()));
        remove_file(&aside)?;
        match fs::hard_link(&source, &aside) {
            Ok(()) => {
                fs::rename(&aside, &path).on("rename", &path)?;
                // A rename of one hard link over another of the same inode does nothing, so remove the temporary name.
                remove_file(&aside)?;
                Ok(true)
            }
            // Too many links, another file system, or one without links: the caller copies.
            Err(error) if error.kind() != io::ErrorKind::StorageFull => Ok(false),
            Err(error) => Err(error).on("link", &path),
        }
    }

    /// What an earlier attempt left of an item, hashed; `None` where that cannot be read. It is synced, because the attempt may
    /// have been killed before it did so.
    pub fn left_over(&self, item: &str) -> Option<Written> {
        let file = File::open(self.path(item).ok()?).ok()?;
        sync_file(&file).ok()?;
        Some(hash(&file).ok()?.finish().1)
    }

    /// The file that an interrupted transfer left, to be continued at its end; what it contains is hashed.
    pub fn reopen(&self, item: &str) -> Result<Option<HashedWriter<SetFile>>, StoreError> {
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
        Ok(Some(hashed.continue_into(SetFile::new(file, self.budget.clone()))))
    }
}

/// Hashes a stored file.
pub fn hash_file(path: &Path) -> io::Result<Written> {
    hash_open(&open_regular(path)?)
}

pub fn hash_open(file: &File) -> io::Result<Written> {
    Ok(hash(file)?.finish().1)
}

fn hash(file: &File) -> io::Result<HashedWriter<io::Sink>> {
    let mut hashed = HashedWriter::new(io::sink());
    io::copy(&mut BufReader::with_capacity(CHUNK, file), &mut hashed)?;
    Ok(hashed)
}
