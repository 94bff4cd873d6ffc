//! Which copy of a set is drilled, and that copy as one open file.

use std::fs::{File, canonicalize, create_dir_all};
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};

use nightshift_core::manifest::{Item, ItemKind, Manifest, is_safe_path};
use nightshift_store::packing::{Packing, snapshot_of};
use nightshift_store::safe_open::{Missing, open_directory};
use nightshift_store::spool::{SpoolError, scratch_file};
use nightshift_store::{open_below, tree};
use serde::{Deserialize, Serialize};

use crate::cold_copy::pack::{PackError, pack};

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is a symbolic link, which is not followed; copy the directory with `cp -rL` first", path.display())]
    Link { path: PathBuf },
    #[error("cannot open {}: {reason}", path.display())]
    Open { path: PathBuf, reason: Missing },
    #[error("cannot pack {}", path.display())]
    Spool { path: PathBuf, source: SpoolError },
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// The kind of a copy, which determines how it is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Stored {
    /// A member's stream: unpacked, and restored by `snapshot restore` with its hash check.
    Snapshot { packing: Packing },
    /// A tar of a data directory, of a stopped member or of `etcdctl backup`: unpacked, and started by `--force-new-cluster`.
    Member { packing: Packing },
}

/// A copy that a worker can read from its beginning.
#[derive(Debug)]
pub struct OpenedCopy {
    pub stored: Stored,
    pub file: File,
}

/// The copy of a set that is drilled.
#[derive(Debug, PartialEq, Eq)]
pub enum SetCopy<'a> {
    File {
        item: &'a Item,
        stored: Stored,
    },
    /// A data directory below the set.
    Directory {
        path: &'a str,
    },
}

impl<'a> SetCopy<'a> {
    /// `None` if the set contains nothing that can be restored.
    ///
    /// A set with v2 keys is restored from the copy that contains them, because a snapshot does not.
    pub fn of(manifest: &'a Manifest) -> Option<Self> {
        let data = manifest.etcd.as_ref().and_then(|facts| facts.data.as_ref());
        // A manifest may be hostile: the name must be that of an item, whose path was checked.
        let cold_copy = data.and_then(|data| manifest.item(&data.cold_copy.as_ref()?.item));
        if let Some(item) = cold_copy {
            let stored = Stored::Member { packing: Packing::of_member(&item.path) };
            return Some(Self::File { item, stored });
        }
        let v2_backup = data.filter(|data| !data.v3).and_then(|data| data.v2_backup.as_ref());
        if let Some(backup) = v2_backup.filter(|backup| is_safe_path(&backup.directory)) {
            return Some(Self::Directory { path: &backup.directory });
        }
        let (item, packing, _) = snapshot_of(manifest)?;
        Some(Self::File { item, stored: Stored::Snapshot { packing } })
    }

    /// The one file that a drill of this set needs, and its size; `None` if it needs a whole directory.
    pub fn file_in(manifest: &'a Manifest) -> Option<(&'a Item, u64, Stored)> {
        match Self::of(manifest)? {
            Self::File { item, stored } => match item.kind {
                ItemKind::File { size, .. } => Some((item, size, stored)),
                _ => None,
            },
            Self::Directory { .. } => None,
        }
    }

    /// Opens it in the set's directory. A data directory is packed into a file in `scratch` first. Blocks.
    pub fn open(&self, set: &Path, scratch: &Path) -> Result<OpenedCopy, OpenError> {
        match self {
            Self::File { item, stored } => {
                let unreadable = |source| OpenError::Read { path: set.join(&item.path), source };
                let file = open_below(set, &item.path).map_err(unreadable)?;
                Ok(OpenedCopy { stored: *stored, file })
            }
            Self::Directory { path } => {
                create_dir_all(scratch)
                    .map_err(|source| OpenError::Read { path: scratch.to_owned(), source })?;
                pack_data_dir(&set.join(path), scratch)
            }
        }
    }
}

/// A tar of a data directory's `member/`, in a file without a name in `scratch`. Blocks.
pub fn pack_data_dir(directory: &Path, scratch: &Path) -> Result<OpenedCopy, OpenError> {
    let unreadable = |source| OpenError::Read { path: directory.to_owned(), source };
    // An operator may name a path with links; what is in the directory is etcd's, and links in it are not followed.
    let path = canonicalize(directory).map_err(unreadable)?.join("member");
    let mut file = scratch_file(scratch, tree::size(&path))
        .map_err(|source| OpenError::Spool { path: directory.to_owned(), source })?;
    match open_directory(&path) {
        Ok(member) => file = pack(&member, &path, file)?,
        // The worker reports that the copy has no member, as it does for every kind of copy.
        Err(Missing::Absent) => {}
        Err(Missing::ThroughLink(_)) => return Err(OpenError::Link { path }),
        Err(reason) => return Err(OpenError::Open { path, reason }),
    }
    file.rewind().map_err(unreadable)?;
    Ok(OpenedCopy { stored: Stored::Member { packing: Packing::Plain }, file })
}
