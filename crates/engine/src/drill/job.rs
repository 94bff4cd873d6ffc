//! What a worker is asked to prove.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nightshift_core::etcd_facts::EtcdFacts;
use nightshift_core::manifest::Manifest;
use nightshift_core::settings::Settings;
use serde::{Deserialize, Serialize};

use crate::space;
use crate::spool::{self, Packing};

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
    /// A data dir as a cold copy or `etcdctl backup` leaves it: a copy of it is started by `--force-new-cluster`.
    DataDir { folder: PathBuf },
}

impl Stored {
    /// How the set in this folder is restored; `None` where it holds nothing that can be.
    pub fn of(folder: &Path, manifest: &Manifest) -> Option<Self> {
        let (item, packing, _) = spool::snapshot_of(manifest)?;
        Some(Self::Snapshot { file: folder.join(&item.path), packing })
    }
}

impl Job {
    pub fn new(settings: &Settings, copy: String, stored: Stored, facts: Option<EtcdFacts>) -> Self {
        let drill = &settings.drill;
        // A scratch folder of its own may be filled to the brim; beside the vault the vault's rule holds.
        let beside_vault = space::same_file_system(&drill.scratch, &settings.vault.path);
        Self {
            copy,
            stored,
            facts,
            tools: drill.etcd_tools.clone(),
            scratch: drill.scratch.clone(),
            leave: if beside_vault { settings.vault.min_free } else { 0 },
            rate: drill.rate,
            deadline_ms: u64::try_from(drill.deadline.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub const fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }
}
