//! The manifest: the list of a set's items. A set exists if and only if its manifest exists.

mod paths;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::paths::{is_safe_path, link_stays_inside};
use crate::access::Access;
use crate::digest::Digest;
use crate::etcd_facts::{EtcdFacts, V2Backup};
use crate::name::{ClusterName, HostName};
use crate::night::Night;
use crate::outcome::Grade;
pub use crate::owner::Owner;
use crate::role::Role;
use crate::set_path::SetId;
use crate::system::System;
use crate::text::{InvalidJson, Lines, Text, at_most};

/// The format that is written, and the newest one that is read in full.
pub const FORMAT: u32 = 1;
/// The file's name in its set, and the name of its signature.
pub const FILE: &str = "manifest.json";
pub const SIGNATURE_FILE: &str = "manifest.json.sig";
/// The SSHSIG namespace under which manifests are signed.
pub const NAMESPACE: &str = "nightshift-set";

/// The files of an etcd set that contain the v3 keys, and those that contain a whole member.
pub const SNAPSHOTS: [&str; 2] = ["snapshot.db.gz", "snapshot.db.zst"];
const COLD_COPIES: [&str; 2] = ["member.tar.gz", "member.tar.zst"];

/// The maximum number of items of a set, and of directories that their paths name.
pub const MAX_ITEMS: usize = 100_000;

/// The maximum size in bytes of a manifest of this role. A node has hundreds of files; the limit is enough for 30,000, because
/// there may be thousands of nodes. The limit of the others is four times the size of [`MAX_ITEMS`] ordinary items.
pub const fn max_bytes(role: Role) -> u64 {
    match role {
        Role::Node => 16 << 20,
        Role::Master | Role::Etcd => 64 << 20,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub cluster: ClusterName,
    pub host: HostName,
    pub role: Role,
    pub night: Night,
    #[serde(deserialize_with = "crate::set_path::attempt")]
    pub attempt: u16,
    /// The host whose daemon created the set. It is another host than `host` if `host` is agentless.
    pub made_by: HostName,
    pub made_at: Timestamp,
    /// The version of nightshift that created it.
    pub made_with: Text,
    pub machine: Machine,
    /// What runs on the machine: a restore needs one like it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<System>,
    pub grade: Grade,
    /// Why the grade is not `good`: one reason each.
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub notes: Lines,
    /// Paths that were in the set last night and are absent tonight.
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub vanished: Lines,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdFacts>,
    #[serde(deserialize_with = "at_most::<MAX_ITEMS, _, _>")]
    pub items: Vec<Item>,
}

/// What identifies the machine, so that another machine with the same host name is noticed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub machine_id: Option<Text>,
    pub hostname: Text,
    #[serde(default)]
    pub addresses: Lines,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its path in the set, relative and with `/`.
    pub path: String,
    /// Its origin: an absolute path, or the command that printed it.
    pub source: String,
    #[serde(flatten)]
    pub kind: ItemKind,
    pub owner: Owner,
    /// Permission bits, in octal. Of a file with an ACL, those of the group are the owning group's, and not the mask.
    #[serde(with = "crate::octal")]
    pub mode: u32,
    pub modified: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux: Option<String>,
    #[serde(flatten)]
    pub access: Access,
    /// It changed each time while it was read, so its content may be inconsistent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ItemKind {
    File {
        size: u64,
        sha256: Digest,
    },
    #[serde(rename = "folder")]
    Directory,
    /// Stored in the manifest only: a vault contains no symlinks.
    Symlink {
        target: String,
    },
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest is not valid JSON with the expected fields")]
    Shape(#[from] InvalidJson),
    #[error(
        "the manifest has format {0}, but this nightshift reads formats up to {FORMAT}; upgrade masters first"
    )]
    Newer(u32),
    #[error("the manifest belongs to {found}, not to {expected}")]
    OtherSet { expected: SetId, found: SetId },
    #[error("the manifest belongs to cluster `{found}`, not to `{expected}`")]
    OtherCluster { expected: ClusterName, found: ClusterName },
    #[error("the paths in the manifest name more than {MAX_ITEMS} directories")]
    TooManyDirectories,
    #[error("the manifest lists `{}`, which is not a safe path within a set", .0.escape_debug())]
    UnsafePath(String),
    #[error("the manifest lists `{}` twice, or both as a file and as a directory", .0.escape_debug())]
    Clash(String),
}

impl Item {
    /// The size in bytes of a file.
    pub const fn size(&self) -> Option<u64> {
        match self.kind {
            ItemKind::File { size, .. } => Some(size),
            ItemKind::Directory | ItemKind::Symlink { .. } => None,
        }
    }
}

impl Manifest {
    pub fn id(&self) -> SetId {
        SetId { host: self.host.clone(), night: self.night, role: self.role, attempt: self.attempt }
    }

    pub fn files(&self) -> impl Iterator<Item = (&Item, u64, Digest)> {
        self.items.iter().filter_map(|item| match item.kind {
            ItemKind::File { size, sha256 } => Some((item, size, sha256)),
            ItemKind::Directory | ItemKind::Symlink { .. } => None,
        })
    }

    /// The sum of all file sizes.
    pub fn total_bytes(&self) -> u64 {
        self.files().fold(0, |sum, (_, size, _)| sum.saturating_add(size))
    }

    /// Why an etcd set that counts as a copy lacks data of etcd's that it must have, or that its manifest describes.
    pub fn missing_etcd_data(&self) -> Option<&'static str> {
        if self.role != Role::Etcd || self.grade <= Grade::Bad {
            return None;
        }
        if !self.has_etcd_data() {
            return Some("it contains neither a snapshot, nor a cold copy, nor a v2 backup");
        }
        let mut copies = self.etcd_copies().into_iter();
        copies.find(|(_, described, contained)| *described && !contained).map(|(reason, ..)| reason)
    }

    /// Whether an etcd set contains the member's keys: a snapshot, a cold copy or a v2 backup, with data in it.
    pub fn has_etcd_data(&self) -> bool {
        self.etcd.is_some() && self.etcd_copies().iter().any(|(.., contained)| *contained)
    }

    /// The packed snapshot of an etcd set.
    pub fn snapshot(&self) -> Option<&Item> {
        self.files().map(|(item, ..)| item).find(|item| SNAPSHOTS.contains(&item.path.as_str()))
    }

    pub fn has_snapshot(&self) -> bool {
        self.has_data(|path| SNAPSHOTS.contains(&path))
    }

    /// Whether an item is a copy of etcd's keys, and not a file of the host.
    pub fn is_etcd_data(&self, path: &str) -> bool {
        let data = self.etcd.as_ref().and_then(|etcd| etcd.data.as_ref());
        let v2_backup = data.and_then(|data| data.v2_backup.as_ref());
        let is_within = |directory: &str| {
            path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        SNAPSHOTS.contains(&path)
            || COLD_COPIES.contains(&path)
            || v2_backup.is_some_and(|backup| is_within(&backup.directory))
    }

    /// Each kind of copy: the reason if it is missing, whether the manifest describes it, and whether the set contains it.
    fn etcd_copies(&self) -> [(&'static str, bool, bool); 3] {
        let data = self.etcd.as_ref().and_then(|etcd| etcd.data.as_ref());
        let cold_copy = data.and_then(|data| data.cold_copy.as_ref());
        let v2_backup = data.and_then(|data| data.v2_backup.as_ref());
        let describes_snapshot = self.etcd.as_ref().is_some_and(|etcd| etcd.snapshot.is_some());
        let has_cold_copy = cold_copy
            .is_some_and(|copy| self.has_data(|path| COLD_COPIES.contains(&path) && path == copy.item));
        let in_backup = |path: &str, backup: &V2Backup| {
            let below = path.strip_prefix(backup.directory.as_str());
            below.is_some_and(|below| below.starts_with("/member/wal/"))
        };
        let has_v2_backup = v2_backup.is_some_and(|backup| self.has_data(|path| in_backup(path, backup)));
        [
            (
                "its manifest describes a snapshot that it does not contain",
                describes_snapshot,
                self.has_snapshot(),
            ),
            (
                "its manifest describes a cold copy that it does not contain",
                cold_copy.is_some(),
                has_cold_copy,
            ),
            (
                "its manifest describes a v2 backup that it does not contain",
                v2_backup.is_some(),
                has_v2_backup,
            ),
        ]
    }

    /// Whether a file with such a path is listed that is not empty.
    fn has_data(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.files().any(|(item, size, _)| size > 0 && wanted(item.path.as_str()))
    }

    pub fn item(&self, path: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.path == path)
    }

    /// The bytes as they are stored, hashed and signed.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a manifest from an untrusted source. Every path in the result is safe to join to a directory.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let Versioned { format } = serde_json::from_slice(bytes).map_err(InvalidJson::from)?;
        if format > FORMAT {
            return Err(ManifestError::Newer(format));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(InvalidJson::from)?;
        manifest.check_paths()?;
        Ok(manifest)
    }

    /// Refuses a manifest that does not belong to the set and cluster where it was found.
    pub fn expect(&self, set: &SetId, cluster: &ClusterName) -> Result<(), ManifestError> {
        if self.id() != *set {
            return Err(ManifestError::OtherSet { expected: set.clone(), found: self.id() });
        }
        if self.cluster != *cluster {
            return Err(ManifestError::OtherCluster {
                expected: cluster.clone(),
                found: self.cluster.clone(),
            });
        }
        Ok(())
    }

    fn check_paths(&self) -> Result<(), ManifestError> {
        let mut leaves = BTreeSet::new();
        // The value is true for directories that are listed, false for those that only contain listed items.
        let mut directories = BTreeMap::new();
        for item in &self.items {
            if !is_safe_path(&item.path) || item.path == FILE || item.path == SIGNATURE_FILE {
                return Err(ManifestError::UnsafePath(quoted(&item.path)));
            }
            let fresh = match item.kind {
                ItemKind::Directory => directories.insert(item.path.as_str(), true) != Some(true),
                _ => leaves.insert(item.path.as_str()),
            };
            if !fresh {
                return Err(ManifestError::Clash(quoted(&item.path)));
            }
            // From the deepest up: what is above a known directory is known too.
            for (at, _) in item.path.rmatch_indices('/') {
                if directories.contains_key(&item.path[..at]) {
                    break;
                }
                directories.insert(&item.path[..at], false);
            }
            if directories.len() > MAX_ITEMS {
                return Err(ManifestError::TooManyDirectories);
            }
        }
        match leaves.iter().find(|leaf| directories.contains_key(*leaf)) {
            Some(clash) => Err(ManifestError::Clash(quoted(clash))),
            None => Ok(()),
        }
    }
}

/// A path in an error: it may be of any length.
fn quoted(path: &str) -> String {
    path.chars().take(200).collect()
}

#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

/// The part of a manifest that is the same in every format: each file's path, size and hash. With it, a set of a newer
/// format can be copied and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileList {
    pub format: u32,
    pub files: Vec<ListedFile>,
    /// How many directories the paths name.
    pub directories: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    pub path: String,
    pub size: u64,
    pub sha256: Digest,
}

impl FileList {
    /// Reads the file list of a manifest from an untrusted source, of this format or a newer one.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let Listed { format, items } = serde_json::from_slice(bytes).map_err(InvalidJson::from)?;
        let mut files = Vec::new();
        let mut seen = BTreeSet::new();
        let mut directories = BTreeSet::new();
        for ListedItem { path, size, sha256 } in items {
            let (Some(size), Some(sha256)) = (size, sha256) else { continue };
            if !is_safe_path(&path) || path == FILE || path == SIGNATURE_FILE {
                return Err(ManifestError::UnsafePath(quoted(&path)));
            }
            for (at, _) in path.rmatch_indices('/') {
                if !directories.insert(path[..at].to_owned()) {
                    break;
                }
            }
            if directories.len() > MAX_ITEMS {
                return Err(ManifestError::TooManyDirectories);
            }
            if !seen.insert(path.clone()) {
                return Err(ManifestError::Clash(quoted(&path)));
            }
            files.push(ListedFile { path, size, sha256 });
        }
        Ok(Self { format, files, directories: directories.len() as u64 })
    }

    pub fn is_newer(&self) -> bool {
        self.format > FORMAT
    }
}

#[derive(Deserialize)]
struct Listed {
    format: u32,
    #[serde(deserialize_with = "at_most::<MAX_ITEMS, _, _>")]
    items: Vec<ListedItem>,
}

#[derive(Deserialize)]
struct ListedItem {
    path: String,
    size: Option<u64>,
    sha256: Option<Digest>,
}

#[cfg(test)]
mod tests;
