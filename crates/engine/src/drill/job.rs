//! What a worker is asked to prove.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nightshift_core::etcd_facts::EtcdFacts;
use nightshift_core::manifest::{Item, ItemKind, Manifest, is_safe_path};
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use nightshift_etcd as etcd;
use nightshift_store::packing::{Packing, snapshot_of};
use nightshift_store::space;
use nightshift_store::{StoreError, Vault};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Which copy it is, in words.
    pub copy: String,
    pub stored: Stored,
    /// What its manifest says of it; `None` for a copy that nightshift did not make.
    #[serde(default)]
    pub facts: Option<EtcdFacts>,
    /// The folder with etcd and etcdctl or etcdutl; without it they are looked for in the usual places.
    #[serde(default)]
    pub tools: Option<PathBuf>,
    pub scratch: PathBuf,
    /// Bytes to leave free on the scratch folder's file system.
    pub leave: u64,
    /// Bytes a second that are copied at most.
    pub rate: u64,
    pub deadline_ms: u64,
}

/// What kind of copy it is, which says how it is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Stored {
    /// What a member streams: unpacked, and restored by `snapshot restore` with its hash checked.
    Snapshot { file: PathBuf, packing: Packing },
    /// The tar of a cold copy: unpacked, and started by `--force-new-cluster`.
    Member { file: PathBuf, packing: Packing },
    /// A data dir as a cold copy or `etcdctl backup` leaves it: a copy of it is started by `--force-new-cluster`.
    DataDir { folder: PathBuf },
}

impl Stored {
    /// How the set in this folder is restored; `None` where it holds nothing that can be.
    ///
    /// A set with v2 keys is restored from what holds them; a snapshot alone would lack them.
    pub fn of(folder: &Path, manifest: &Manifest) -> Option<Self> {
        let data = manifest.etcd.as_ref().and_then(|facts| facts.data.as_ref());
        // Names that anybody may have written: of an item, which was checked.
        let cold_copy = data.and_then(|data| manifest.item(&data.cold_copy.as_ref()?.item));
        if let Some(item) = cold_copy {
            let packing = if item.path.ends_with(".zst") { Packing::Zstd } else { Packing::Gzip };
            return Some(Self::Member { file: folder.join(&item.path), packing });
        }
        let v2_backup = data.filter(|data| !data.v3).and_then(|data| data.v2_backup.as_ref());
        if let Some(backup) = v2_backup.filter(|backup| is_safe_path(&backup.directory)) {
            return Some(Self::DataDir { folder: folder.join(&backup.directory) });
        }
        Self::snapshot_of(folder, manifest)
    }

    /// The one file that a drill of this set needs, and its size; `None` where it takes a whole folder.
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

    fn snapshot_of(folder: &Path, manifest: &Manifest) -> Option<Self> {
        let (item, packing, _) = snapshot_of(manifest)?;
        Some(Self::Snapshot { file: folder.join(&item.path), packing })
    }
}

/// A scratch folder on a file system of its own may be filled to the brim. Beside the vault the vault's rule holds, and
/// beside the real member's data that of whatever is written there.
fn leave(settings: &Settings, db_size: u64) -> u64 {
    let scratch = &settings.drill.scratch;
    let beside_vault = space::same_file_system(scratch, &settings.vault.path);
    let min_free = if beside_vault { settings.vault.min_free } else { 0 };
    // Where no member is described there is none to be in the way of.
    let local = etcd::discover(&settings.etcd, Path::new("/")).ok();
    let data_dir = local.as_ref().and_then(|local| local.data_dir.as_deref());
    min_free.max(space::beside_etcd(data_dir, scratch, db_size).unwrap_or(0))
}

/// Whether a running etcd has this data dir open: a copy of it would be of no moment in particular.
pub fn is_in_use(data_dir: &Path) -> bool {
    // bbolt holds a lock of its whole database for as long as it is open.
    let Ok(db) = File::open(data_dir.join("member/snap/db")) else { return false };
    flock(&db, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

impl Job {
    pub fn new(settings: &Settings, copy: String, stored: Stored, facts: Option<EtcdFacts>) -> Self {
        let drill = &settings.drill;
        let db_size = facts.as_ref().map_or(0, |facts| facts.raw_size);
        Self {
            copy,
            stored,
            facts,
            tools: drill.etcd_tools.clone(),
            scratch: drill.scratch.clone(),
            leave: leave(settings, db_size),
            rate: drill.rate,
            deadline_ms: u64::try_from(drill.deadline.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// What is known of a set's etcd: its own manifest's facts, and what the members answered that night, which stands in
    /// the manifest of the one host that asked.
    pub fn facts_of(vault: &Vault, manifest: &Manifest) -> Result<Option<EtcdFacts>, StoreError> {
        let Some(mut facts) = manifest.etcd.clone() else { return Ok(None) };
        if facts.agreement.is_none() {
            let same_night = vault.sets_of_night(manifest.night)?.into_iter();
            facts.agreement = same_night.filter(|set| set.role == Role::Etcd).find_map(|set| {
                let other = vault.manifest(&set).ok()?.etcd?;
                other.agreement.filter(|_| other.cluster_id == facts.cluster_id)
            });
        }
        Ok(Some(facts))
    }

    pub const fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }
}
