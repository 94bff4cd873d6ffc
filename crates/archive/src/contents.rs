//! `archive.json`: the sets in an archive, and what is missing.

use jiff::Timestamp;
use nightshift_core::archive::{ALLOWED_SIGNERS, ArchiveName, FORMAT, MANIFEST, RESTORE_TEXT};
use nightshift_core::digest::Digest;
use std::borrow::Cow;

use nightshift_core::manifest::{Item, ItemKind, Manifest, SIGNATURE_FILE, is_safe_path, link_stays_inside};
use nightshift_core::name::{ClusterName, HostName};
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::set_path::SetId;
use nightshift_core::text::{InvalidJson, Lines};
use serde::{Deserialize, Serialize};

use crate::links::Links;
use crate::pax;

/// The maximum size of an `archive.json`: enough for a hundred thousand sets.
pub(crate) const MAX_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    pub format: u32,
    pub cluster: ClusterName,
    /// The master that packed it.
    pub host: HostName,
    pub night: Night,
    /// 1 for the first archive of the night. Later ones also contain the sets that arrived late.
    pub edition: u16,
    pub made_at: Timestamp,
    /// The version of nightshift that packed it.
    pub made_with: String,
    /// In the order of the archive.
    pub sets: Vec<ArchivedSet>,
    /// The expected sets that are missing, one line each, with the reason.
    pub missing: Vec<String>,
    /// Of the hosts of the inventory and of the remotes, as the packing master has pinned them. They verify the signatures in the
    /// archive, and the connections of a restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_keys: Vec<HostKey>,
    /// The archive's own files, which are in no set: RESTORE.txt and allowed_signers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Attached>,
}

/// The files that an archive may have beside its sets.
const OWN_FILES: [&str; 2] = [RESTORE_TEXT, ALLOWED_SIGNERS];

/// A public SSH host key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKey {
    /// The host's name, and the address that it is reached at if that is another one.
    pub names: Vec<String>,
    /// The port of its SSH server.
    pub port: u16,
    /// `ssh-ed25519`
    #[serde(rename = "type")]
    pub kind: String,
    /// In base64.
    pub key: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedSet {
    #[serde(flatten)]
    pub id: SetId,
    pub grade: Grade,
    /// Of the bytes of its `manifest.json`.
    pub manifest_sha256: Digest,
    /// The files that its manifest does not list: its signature and proofs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached: Vec<Attached>,
    /// The symlinks that are in its manifest only.
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub left_out: Lines,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Relative to the archive's top directory.
    pub path: String,
    pub size: u64,
    pub sha256: Digest,
}

impl ArchivedSet {
    /// The set's directory, relative to the archive's top directory.
    pub fn dir_name(&self) -> String {
        self.id.in_night()
    }

    /// Whether a file that no manifest names can belong to the set: a reader may join its path to a directory.
    fn may_have(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        let [host, directory, name] = parts[..] else { return false };
        let is_signature = directory == self.id.dir_name() && name == SIGNATURE_FILE;
        is_safe_path(path)
            && host == self.id.host.as_str()
            && (is_signature || directory.ends_with(".proofs"))
    }
}

/// The name under which an archive was packed that is now called `name` and begins with the entry `path`: its own, or that of an
/// earlier edition. On a remote it gets a later one if its own is taken by other content.
pub(crate) fn packed_name(name: &ArchiveName, path: &str) -> Option<ArchiveName> {
    let is_first = |packed: &ArchiveName| path == format!("{}/{MANIFEST}", packed.top_directory());
    (1..=name.edition).rev().map(|edition| name.with_edition(edition)).find(is_first)
}

/// Why an `archive.json` is not that of its archive.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    #[error("invalid JSON, or not of the expected shape")]
    Shape(#[from] InvalidJson),
    #[error("unsupported format {0}; upgrade nightshift to read it")]
    Newer(u32),
    #[error("it belongs to the archive {0}")]
    OtherArchive(String),
    #[error("it names the file `{}`, which no archive has", path.escape_debug())]
    OwnFile { path: String },
    #[error("it names `{}`, which is neither the signature nor a proof of {set}", path.escape_debug())]
    Attached { set: SetId, path: String },
}

impl Contents {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the `archive.json` of the archive called `name`.
    pub(crate) fn decode(bytes: &[u8], name: &ArchiveName) -> Result<Self, ContentsError> {
        let Versioned { format } = serde_json::from_slice(bytes).map_err(InvalidJson::from)?;
        if format > FORMAT {
            return Err(ContentsError::Newer(format));
        }
        let contents: Self = serde_json::from_slice(bytes).map_err(InvalidJson::from)?;
        let Night { date, extra } = contents.night;
        let edition = contents.edition;
        let own = ArchiveName { host: contents.host.clone(), date, extra, edition, ..name.clone() };
        if own != *name {
            return Err(ContentsError::OtherArchive(own.top_directory()));
        }
        for (at, file) in contents.files.iter().enumerate() {
            // A reader may join its path to a directory.
            let is_known = OWN_FILES.contains(&file.path.as_str());
            if !is_known || contents.files[..at].iter().any(|other| other.path == file.path) {
                return Err(ContentsError::OwnFile { path: file.path.chars().take(200).collect() });
            }
        }
        for set in &contents.sets {
            if let Some(attached) = set.attached.iter().find(|attached| !set.may_have(&attached.path)) {
                let path = attached.path.chars().take(200).collect();
                return Err(ContentsError::Attached { set: set.id.clone(), path });
            }
        }
        Ok(contents)
    }
}

#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

/// How the items of a set are written into an archive of this format.
pub(crate) struct Rules<'m> {
    /// `None` in format 1, which has only the links that stay in their set, by their text, and all mode bits.
    links: Option<Links<'m>>,
}

/// The set-uid, set-gid and sticky bits are in the manifest only: a user who unpacks the archive as root would create programs that
/// run as root for every user.
const PACKED_MODE: u32 = 0o777;

impl<'m> Rules<'m> {
    pub fn of(format: u32, manifest: &'m Manifest) -> Self {
        Self { links: (format > 1).then(|| Links::of(manifest)) }
    }

    pub const fn mode(&self, item: &Item) -> u32 {
        if self.links.is_some() { item.mode & PACKED_MODE } else { item.mode }
    }

    /// The records of its ACLs and capability.
    pub fn pax(&self, item: &Item) -> Vec<u8> {
        if self.links.is_some() { pax::records(&item.access) } else { Vec::new() }
    }

    /// The target of a link's entry; `None` where the link is in the manifest only, because it would harm a user who unpacks the
    /// archive elsewhere.
    pub fn target<'t>(&self, item: &Item, target: &'t str) -> Option<Cow<'t, str>> {
        match &self.links {
            Some(links) => links.target(item, target),
            None => link_stays_inside(&item.path, target).then_some(Cow::Borrowed(target)),
        }
    }

    /// The links that are in the manifest only.
    pub fn left_out(&self, manifest: &'m Manifest) -> impl Iterator<Item = &'m Item> {
        manifest.items.iter().filter(|item| match &item.kind {
            ItemKind::Symlink { target } => self.target(item, target).is_none(),
            ItemKind::File { .. } | ItemKind::Directory => false,
        })
    }
}

/// The links of a set that an archive does not contain. They are in the set's manifest.
pub fn left_out(manifest: &Manifest) -> Vec<&Item> {
    Rules::of(FORMAT, manifest).left_out(manifest).collect()
}

/// In whole seconds since 1970, the range of a tar header. An earlier time becomes 0.
pub(crate) fn header_time(modified: Timestamp) -> u64 {
    modified.as_second().max(0).cast_unsigned()
}
