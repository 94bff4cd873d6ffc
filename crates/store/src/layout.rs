//! Where the sets of a vault are, and which there are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightshift_core::digest::Digest;
use nightshift_core::manifest::{self, FileList, Manifest};
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::role::Role;
use nightshift_core::set_path::{SetDirName, SetId};
use nightshift_core::settings::Settings;

use crate::directory::list;
use crate::fault::StoreError;
use crate::read::read_bounded;

/// The directory of sets on this host: `<host>/<night>/<role>/`.
#[derive(Debug, Clone)]
pub struct Vault {
    root: PathBuf,
    hosts: Arc<Hosts>,
}

/// The hosts whose statements about a set count, as the inventory names them.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    /// Those whose operators decide for every host: this one and the masters.
    pub deciding: BTreeSet<HostName>,
    pub etcd: BTreeSet<HostName>,
}

impl Vault {
    /// The vault of this host.
    pub fn of(settings: &Settings) -> Self {
        let with = |role| settings.inventory.with_role(role).map(|host| host.name.clone());
        let deciding = with(Role::Master).chain([settings.this.clone()]).collect();
        let hosts = Hosts { deciding, etcd: with(Role::Etcd).collect() };
        Self { hosts: Arc::new(hosts), ..Self::new(&settings.vault.path) }
    }

    /// A vault without an inventory: what hosts state about each other's sets does not count.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), hosts: Arc::default() }
    }

    pub(crate) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn directory(&self, set: &SetId) -> PathBuf {
        self.root.join(set.path())
    }

    pub fn host_directory(&self, host: &HostName) -> PathBuf {
        self.root.join(host.as_str())
    }

    /// Whether the set exists: it does if and only if its manifest does.
    pub fn contains(&self, set: &SetId) -> bool {
        self.directory(set).join(manifest::FILE).is_file()
    }

    /// Every published set, in the order of host, night, role and attempt.
    pub fn sets(&self) -> Result<Vec<SetId>, StoreError> {
        let mut sets = Vec::new();
        for host in entries::<HostName>(&self.root)? {
            for night in self.nights_of(&host)? {
                sets.extend(self.sets_of(&host, night)?);
            }
        }
        Ok(sets)
    }

    /// The nights of which this vault has a directory for a host, in order.
    pub fn nights_of(&self, host: &HostName) -> Result<Vec<Night>, StoreError> {
        entries(&self.host_directory(host))
    }

    /// The published sets of one host and night.
    pub fn sets_of(&self, host: &HostName, night: Night) -> Result<Vec<SetId>, StoreError> {
        let mut sets: Vec<SetId> = entries::<SetDirName>(&self.host_directory(host).join(night.to_string()))?
            .into_iter()
            .map(|SetDirName { role, attempt }| SetId { host: host.clone(), night, role, attempt })
            .filter(|set| self.contains(set))
            .collect();
        sets.sort();
        Ok(sets)
    }

    /// Every published set of one night, of all hosts.
    pub fn sets_of_night(&self, night: Night) -> Result<Vec<SetId>, StoreError> {
        let mut sets = Vec::new();
        for host in entries::<HostName>(&self.root)? {
            sets.extend(self.sets_of(&host, night)?);
        }
        Ok(sets)
    }

    /// The number of the next attempt at a set of this host, role and night.
    pub fn next_attempt(&self, host: &HostName, night: Night, role: Role) -> Result<u16, StoreError> {
        let sets = self.sets_of(host, night)?;
        Ok(sets.iter().filter(|set| set.role == role).map(|set| set.attempt).max().unwrap_or(0) + 1)
    }

    pub fn manifest(&self, set: &SetId) -> Result<Manifest, StoreError> {
        let bytes = self.manifest_bytes(set)?;
        Manifest::decode(&bytes).map_err(|source| StoreError::Manifest { set: set.clone(), source })
    }

    /// The SHA-256 of the manifest. Proofs and copies refer to the set by it.
    pub fn manifest_digest(&self, set: &SetId) -> Result<Digest, StoreError> {
        self.manifest_bytes(set).map(|bytes| Digest::of(&bytes))
    }

    /// Whether its manifest has a format that only a newer nightshift understands.
    pub fn is_newer(&self, set: &SetId) -> bool {
        self.manifest_bytes(set).is_ok_and(|bytes| FileList::decode(&bytes).is_ok_and(|list| list.is_newer()))
    }

    pub fn manifest_bytes(&self, set: &SetId) -> Result<Vec<u8>, StoreError> {
        read_bounded(&self.directory(set).join(manifest::FILE), manifest::MAX_BYTES)
    }
}

/// The entries of a directory whose names are of this kind, in order; others are not nightshift's.
fn entries<T: std::str::FromStr + Ord>(directory: &Path) -> Result<Vec<T>, StoreError> {
    let entries = list(directory)?.into_iter();
    let mut names: Vec<T> =
        entries.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok())).collect();
    // By value, which for nights and attempts is another order than that of the text.
    names.sort();
    Ok(names)
}
