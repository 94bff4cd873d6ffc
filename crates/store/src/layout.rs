//! Where the sets of a vault are, and which there are.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightshift_core::chain;
use nightshift_core::digest::Digest;
use nightshift_core::manifest::{self, FileList, Manifest, ManifestError};
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::role::Role;
use nightshift_core::set_path::{SetDirName, SetId};
use nightshift_core::settings::Settings;

use crate::budget::Reservations;
use crate::directory::{is_absent, list};
use crate::fault::StoreError;
use crate::read::read_below;
use crate::space::Amount;

/// The directory of sets on this host: `<host>/<night>/<role>/`.
#[derive(Debug, Clone)]
pub struct Vault {
    root: PathBuf,
    hosts: Arc<Hosts>,
    reservations: Reservations,
    /// Where this host remembers that it used the vault.
    mark: Option<PathBuf>,
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
        let mark = settings.paths.vault_mark();
        Self { hosts: Arc::new(hosts), ..Self::new(&settings.vault.path) }.marked_by(mark)
    }

    /// A vault without an inventory: what hosts state about each other's sets does not count.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let (hosts, reservations) = (Arc::default(), Reservations::default());
        Self { root: root.into(), hosts, reservations, mark: None }
    }

    pub(crate) fn marked_by(self, mark: PathBuf) -> Self {
        Self { mark: Some(mark), ..self }
    }

    pub(crate) fn mark(&self) -> Option<&Path> {
        self.mark.as_deref()
    }

    /// The same vault, whose free space is shared with others that have these reservations.
    pub fn sharing(self, reservations: Reservations) -> Self {
        Self { reservations, ..self }
    }

    pub(crate) const fn reservations(&self) -> &Reservations {
        &self.reservations
    }

    /// What the sets that are being written have reserved and not used yet.
    pub fn reserved(&self) -> Amount {
        self.reservations.total()
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

    /// Whether the set exists: it does if and only if its manifest does. One whose manifest cannot be read exists too.
    pub fn contains(&self, set: &SetId) -> bool {
        !is_absent(&self.directory(set).join(manifest::FILE))
    }

    /// Every published set, in the order of host, night, role and attempt. What cannot be listed is skipped with a warning.
    pub fn sets(&self) -> Result<Vec<SetId>, StoreError> {
        let Listed { sets, unlisted } = self.list()?;
        unlisted.iter().for_each(skipped);
        Ok(sets)
    }

    /// Every published set, and what could not be listed. Only the vault's own directory must be readable: one host's directory
    /// that is not costs the sets of that host.
    pub fn list(&self) -> Result<Listed, StoreError> {
        let mut listed = Listed::default();
        for host in entries::<HostName>(&self.root)? {
            let nights = listed.take(self.nights_of(&host));
            for night in nights {
                let sets = listed.take(self.sets_of(&host, night));
                listed.sets.extend(sets);
            }
        }
        Ok(listed)
    }

    /// The nights of which this vault has a directory for a host, in order.
    pub fn nights_of(&self, host: &HostName) -> Result<Vec<Night>, StoreError> {
        within(&self.host_directory(host))
    }

    /// The published sets of one host and night.
    pub fn sets_of(&self, host: &HostName, night: Night) -> Result<Vec<SetId>, StoreError> {
        let mut sets: Vec<SetId> = within::<SetDirName>(&self.host_directory(host).join(night.to_string()))?
            .into_iter()
            .map(|SetDirName { role, attempt }| SetId { host: host.clone(), night, role, attempt })
            .filter(|set| self.contains(set))
            .collect();
        sets.sort();
        Ok(sets)
    }

    /// Every published set of a host and role, in order. What cannot be listed is skipped with a warning.
    pub fn sets_of_host(&self, host: &HostName, role: Role) -> Vec<SetId> {
        let mut listed = Listed::default();
        for night in listed.take(self.nights_of(host)) {
            let sets = listed.take(self.sets_of(host, night));
            listed.sets.extend(sets.into_iter().filter(|set| set.role == role));
        }
        listed.unlisted.iter().for_each(skipped);
        listed.sets
    }

    /// Every published set of one night, of all hosts. What cannot be listed is skipped with a warning.
    pub fn sets_of_night(&self, night: Night) -> Result<Vec<SetId>, StoreError> {
        let mut listed = Listed::default();
        for host in entries::<HostName>(&self.root)? {
            let sets = listed.take(self.sets_of(&host, night));
            listed.sets.extend(sets);
        }
        listed.unlisted.iter().for_each(skipped);
        Ok(listed.sets)
    }

    /// The number of the next attempt at a set of this host, role and night.
    pub fn next_attempt(&self, host: &HostName, night: Night, role: Role) -> Result<u16, StoreError> {
        let sets = self.sets_of(host, night)?;
        Ok(sets.iter().filter(|set| set.role == role).map(|set| set.attempt).max().unwrap_or(0) + 1)
    }

    /// The manifest of a set. One that belongs to another set is refused.
    pub fn manifest(&self, set: &SetId) -> Result<Manifest, StoreError> {
        let bytes = self.manifest_bytes(set)?;
        let decoded = Manifest::decode(&bytes).and_then(|manifest| match manifest.id() {
            found if found == *set => Ok(manifest),
            found => Err(ManifestError::OtherSet { expected: set.clone(), found }),
        });
        decoded.map_err(|source| StoreError::Manifest { set: set.clone(), source })
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
        read_below(&self.directory(set), manifest::FILE, manifest::max_bytes(set.role))
    }
}

/// The sets of a vault.
#[derive(Debug, Default)]
pub struct Listed {
    pub sets: Vec<SetId>,
    /// Why the sets of some hosts or nights are not among them.
    pub unlisted: Vec<StoreError>,
}

impl Listed {
    fn take<T>(&mut self, found: Result<Vec<T>, StoreError>) -> Vec<T> {
        found.unwrap_or_else(|error| {
            self.unlisted.push(error);
            Vec::new()
        })
    }
}

fn skipped(error: &StoreError) {
    tracing::warn!("a part of the vault is skipped: {}", chain(error));
}

/// As `entries`; none where a file has the name of a host or a night.
fn within<T: std::str::FromStr + Ord>(directory: &Path) -> Result<Vec<T>, StoreError> {
    match entries(directory) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        entries => entries,
    }
}

/// The directories in a directory whose names are of this kind, in order. Others are not nightshift's: an operator's file, or one
/// of the file system (`aquota.user`), may have a name that a host could have.
fn entries<T: std::str::FromStr + Ord>(directory: &Path) -> Result<Vec<T>, StoreError> {
    let mut names: Vec<T> = list(directory)?
        .into_iter()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry)))
        .filter(|(_, entry)| may_be_directory(&entry.path()))
        .map(|(name, _)| name)
        .collect();
    // By value, which for nights and attempts is another order than that of the text.
    names.sort();
    Ok(names)
}

/// A link to a directory counts: a vault may be spread over several disks. What cannot be looked at counts too, so that the listing
/// of its content fails, and is reported.
fn may_be_directory(path: &Path) -> bool {
    match std::fs::metadata(path) {
        Ok(metadata) => metadata.is_dir(),
        // A dangling link and one to itself lead nowhere.
        Err(error) => error.kind() != io::ErrorKind::NotFound && !is_loop(&error),
    }
}

fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}
