//! Where sets lie in a vault, and which ones are there.

use std::fs;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nightshift_core::digest::Digest;
use nightshift_core::manifest::{self, FileList, Manifest};
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::role::Role;
use nightshift_core::set_path::{SetDirName, SetId};

use crate::fault::{IoContext as _, StoreError};

/// The folder of sets on this host: `<host>/<night>/<role>/`.
#[derive(Debug, Clone)]
pub struct Vault {
    root: PathBuf,
}

impl Vault {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn folder(&self, set: &SetId) -> PathBuf {
        self.root.join(set.path())
    }

    pub fn host_folder(&self, host: &HostName) -> PathBuf {
        self.root.join(host.as_str())
    }

    /// Whether the set exists: it does if and only if its manifest does.
    pub fn holds(&self, set: &SetId) -> bool {
        self.folder(set).join(manifest::FILE).is_file()
    }

    /// Every published set, in the order of host, night and folder.
    pub fn sets(&self) -> Result<Vec<SetId>, StoreError> {
        let mut sets = Vec::new();
        for host in entries::<HostName>(&self.root)? {
            for night in self.nights_of(&host)? {
                sets.extend(self.sets_of(&host, night)?);
            }
        }
        Ok(sets)
    }

    /// The nights of which this vault has a folder for a host, in order.
    pub fn nights_of(&self, host: &HostName) -> Result<Vec<Night>, StoreError> {
        entries(&self.host_folder(host))
    }

    /// The published sets of one host and night.
    pub fn sets_of(&self, host: &HostName, night: Night) -> Result<Vec<SetId>, StoreError> {
        let folder = self.host_folder(host).join(night.to_string());
        let mut sets: Vec<SetId> = entries::<SetDirName>(&folder)?
            .into_iter()
            .map(|SetDirName { role, attempt }| SetId { host: host.clone(), night, role, attempt })
            .filter(|set| self.holds(set))
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

    /// The attempt that a further set of this host, role and night would be.
    pub fn next_attempt(&self, host: &HostName, night: Night, role: Role) -> Result<u16, StoreError> {
        let sets = self.sets_of(host, night)?;
        Ok(sets.iter().filter(|set| set.role == role).map(|set| set.attempt).max().unwrap_or(0) + 1)
    }

    pub fn manifest(&self, set: &SetId) -> Result<Manifest, StoreError> {
        let bytes = self.manifest_bytes(set)?;
        Manifest::decode(&bytes).map_err(|source| StoreError::Manifest { set: set.clone(), source })
    }

    /// The SHA-256 of the manifest, by which proofs and copies refer to the set.
    pub fn manifest_digest(&self, set: &SetId) -> Result<Digest, StoreError> {
        self.manifest_bytes(set).map(|bytes| Digest::of(&bytes))
    }

    /// Whether its manifest is of a format that only a newer nightshift understands.
    pub fn is_newer(&self, set: &SetId) -> bool {
        self.manifest_bytes(set).is_ok_and(|bytes| FileList::decode(&bytes).is_ok_and(|list| list.is_newer()))
    }

    pub fn manifest_bytes(&self, set: &SetId) -> Result<Vec<u8>, StoreError> {
        read_bounded(&self.folder(set).join(manifest::FILE), manifest::MAX_BYTES)
    }
}

/// Makes a folder and those above it, closed to everybody but this user and the peers' group.
pub fn create_folders(folder: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new().recursive(true).mode(0o750).create(folder).on("create", folder)
}

/// Reads a whole file, refusing one that is larger than it can honestly be.
pub fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, StoreError> {
    let file = fs::File::open(path).on("open", path)?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).on("read", path)?;
    if bytes.len() as u64 > most {
        return Err(StoreError::TooBig { path: path.to_owned(), size: bytes.len() as u64, most });
    }
    Ok(bytes)
}

/// The last bytes of a file, at most so many.
pub fn read_tail(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The entries of a folder whose names are of this kind, in order; whatever else lies there is not ours to judge.
fn entries<T: std::str::FromStr + Ord>(folder: &Path) -> Result<Vec<T>, StoreError> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).on("list", folder),
    };
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry.on("list", folder)?;
        if let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
