//! The job of a worker.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nightshift_core::etcd_facts::EtcdFacts;
use nightshift_core::manifest::{Item, ItemKind, Manifest, is_safe_path};
use nightshift_core::settings::Settings;
use nightshift_etcd::discover::discover;
use nightshift_store::packing::{Packing, snapshot_of};
use nightshift_store::{Judge, Vault, space};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Which copy it is, as text.
    pub copy: String,
    pub stored: Stored,
    /// The facts in its manifest; `None` for a copy that nightshift did not make.
    #[serde(default)]
    pub facts: Option<EtcdFacts>,
    /// The members were compared by another host than the set's: a hash that differs is that host's statement.
    #[serde(default)]
    pub compared_elsewhere: bool,
    /// The directory with etcd and etcdctl or etcdutl; `None` means that the usual directories are searched.
    #[serde(default)]
    pub tools: Option<PathBuf>,
    pub scratch: PathBuf,
    /// Bytes to leave free on the scratch directory's file system.
    pub leave: u64,
    /// The maximum rate of copying, in bytes per second.
    pub rate: u64,
    pub deadline_ms: u64,
}

/// The kind of a copy, which determines how it is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Stored {
    /// A member's stream: unpacked, and restored by `snapshot restore` with its hash check.
    Snapshot { file: PathBuf, packing: Packing },
    /// The tar of a cold copy: unpacked, and started by `--force-new-cluster`.
    Member { file: PathBuf, packing: Packing },
    /// A data directory of a stopped member or of `etcdctl backup`: a copy of it is started by `--force-new-cluster`.
    DataDir {
        #[serde(rename = "folder")]
        directory: PathBuf,
    },
}

impl Stored {
    /// How the set in this directory is restored; `None` if it contains nothing that can be restored.
    ///
    /// A set with v2 keys is restored from the copy that contains them, because a snapshot does not.
    pub fn of(directory: &Path, manifest: &Manifest) -> Option<Self> {
        let data = manifest.etcd.as_ref().and_then(|facts| facts.data.as_ref());
        // A manifest may be hostile: the name must be that of an item, whose path was checked.
        let cold_copy = data.and_then(|data| manifest.item(&data.cold_copy.as_ref()?.item));
        if let Some(item) = cold_copy {
            let packing = if item.path.ends_with(".zst") { Packing::Zstd } else { Packing::Gzip };
            return Some(Self::Member { file: directory.join(&item.path), packing });
        }
        let v2_backup = data.filter(|data| !data.v3).and_then(|data| data.v2_backup.as_ref());
        if let Some(backup) = v2_backup.filter(|backup| is_safe_path(&backup.directory)) {
            return Some(Self::DataDir { directory: directory.join(&backup.directory) });
        }
        Self::snapshot_of(directory, manifest)
    }

    /// The one file that a drill of this set needs, and its size; `None` if it needs a whole directory.
    pub fn file_in(manifest: &Manifest) -> Option<(&Item, u64)> {
        let (Self::Snapshot { file, .. } | Self::Member { file, .. }) = Self::of(Path::new(""), manifest)?
        else {
            return None;
        };
        manifest.items.iter().find_map(|item| match item.kind {
            ItemKind::File { size, .. } if Path::new(&item.path) == file => Some((item, size)),
            _ => None,
        })
    }

    fn snapshot_of(directory: &Path, manifest: &Manifest) -> Option<Self> {
        let (item, packing, _) = snapshot_of(manifest)?;
        Some(Self::Snapshot { file: directory.join(&item.path), packing })
    }
}

/// A scratch directory may fill a file system of its own. On the vault's file system `min-free` stays free, and on that of the real
/// member's data the space that etcd needs.
fn min_free(settings: &Settings, db_size: u64) -> u64 {
    let scratch = &settings.drill.scratch;
    let with_vault = space::same_file_system(scratch, &settings.vault.path);
    let min_free = if with_vault { settings.vault.min_free } else { 0 };
    // A host without a configured member has no member's data.
    let local = discover(&settings.etcd, Path::new("/")).ok();
    let data_dir = local.as_ref().and_then(|local| local.data_dir.as_deref());
    min_free.max(space::beside_etcd(data_dir, scratch, db_size).unwrap_or(0))
}

/// Whether a running etcd has this data directory open: a copy of it would mix several states
/// (docs/facts/etcd.md#copies-of-a-live-database).
pub fn is_in_use(data_dir: &Path) -> bool {
    // bbolt has the database locked while it is open.
    let Ok(db) = File::open(data_dir.join("member/snap/db")) else { return false };
    matches!(db.try_lock_shared(), Err(TryLockError::WouldBlock))
}

impl Job {
    pub fn new(settings: &Settings, copy: String, stored: Stored, facts: Option<EtcdFacts>) -> Self {
        let drill = &settings.drill;
        let db_size = facts.as_ref().map_or(0, |facts| facts.raw_size);
        Self {
            copy,
            stored,
            facts,
            compared_elsewhere: false,
            tools: drill.etcd_tools.clone(),
            scratch: drill.scratch.clone(),
            leave: min_free(settings, db_size),
            rate: drill.rate,
            deadline_ms: u64::try_from(drill.deadline.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The facts about a set's etcd: those in its own manifest, and the agreement of that night, which is in the manifest of the one
    /// host that compared the members.
    pub fn facts_of(vault: &Vault, manifest: &Manifest) -> Option<EtcdFacts> {
        let mut facts = manifest.etcd.clone()?;
        facts.agreement = Judge::new(vault).agreement(manifest);
        Some(facts)
    }

    /// As `new`, of the set with this manifest.
    pub fn of_set(self, manifest: &Manifest) -> Self {
        let own = manifest.etcd.as_ref().is_some_and(|facts| facts.agreement.is_some());
        Self { compared_elsewhere: !own, ..self }
    }

    pub const fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }
}
