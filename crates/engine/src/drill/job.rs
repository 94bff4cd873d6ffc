//! A copy to be drilled, and the job of the worker that does it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nightshift_core::etcd_facts::EtcdFacts;
use nightshift_core::manifest::Manifest;
use nightshift_core::settings::{EtcdTools, Settings};
use nightshift_etcd::discover::discover;
use nightshift_etcd::kept_tools::KeptTools;
use nightshift_etcd::trial::secrets::MasterKeys;
use nightshift_store::{Judge, Vault, space};
use serde::{Deserialize, Serialize};

use super::set_copy::{OpenedCopy, Stored};

/// A copy that is stored on this host.
#[derive(Debug)]
pub struct Subject {
    /// Which copy it is, as text.
    pub copy: String,
    pub opened: OpenedCopy,
    /// The facts in its manifest; `None` for a copy that nightshift did not make.
    pub facts: Option<EtcdFacts>,
    /// The members were compared by another host than the set's: a hash that differs is that host's statement.
    pub compared_elsewhere: bool,
    /// The keys with which its encrypted values are decrypted.
    pub keys: MasterKeys,
}

impl Subject {
    /// The copy of the set with this manifest.
    pub fn of_set(copy: String, opened: OpenedCopy, manifest: &Manifest, facts: Option<EtcdFacts>) -> Self {
        let own = manifest.etcd.as_ref().is_some_and(|facts| facts.agreement.is_some());
        let keys = MasterKeys::Unknown("this is not a drill of a set in the vault".to_owned());
        Self { copy, opened, facts, compared_elsewhere: !own, keys }
    }

    pub fn with_keys(self, keys: MasterKeys) -> Self {
        Self { keys, ..self }
    }
}

/// What a worker is sent, with the file of the copy.
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
    /// The programs of the member's container, which come as two further open files. They are used where none are installed, or
    /// those of another version.
    #[serde(default)]
    pub container: Option<KeptTools>,
    /// Never logged, and never in a file: they are sent over a socket that only the daemon and the worker have open.
    #[serde(default)]
    pub keys: MasterKeys,
    pub scratch: PathBuf,
    /// Bytes to leave free on the scratch directory's file system.
    pub leave: u64,
    /// The maximum rate of copying, in bytes per second.
    pub rate: u64,
    pub deadline_ms: u64,
}

/// A scratch directory may fill a file system of its own. On the vault's file system `min-free` stays free, and on that of the real
/// member's data the space that etcd needs.
pub fn min_free(settings: &Settings, scratch: &Path, db_size: u64) -> u64 {
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
    pub fn new(
        settings: &Settings,
        subject: &Subject,
        scratch: PathBuf,
        container: Option<KeptTools>,
    ) -> Self {
        let drill = &settings.drill;
        let db_size = subject.facts.as_ref().map_or(0, |facts| facts.raw_size);
        Self {
            copy: subject.copy.clone(),
            stored: subject.opened.stored,
            facts: subject.facts.clone(),
            compared_elsewhere: subject.compared_elsewhere,
            tools: match &drill.etcd_tools {
                EtcdTools::Directory(directory) => Some(directory.clone()),
                EtcdTools::Auto | EtcdTools::None => None,
            },
            container,
            keys: subject.keys.clone(),
            leave: min_free(settings, &scratch, db_size),
            scratch,
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

    pub const fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }
}
