//! `archive.json`: what an archive holds, and what it should hold but does not.

use jiff::Timestamp;
use nightshift_core::archive::{ArchiveName, FORMAT};
use nightshift_core::digest::Digest;
use nightshift_core::manifest::{Item, ItemKind, link_stays_inside};
use nightshift_core::name::{ClusterName, HostName};
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::set_path::SetId;
use serde::{Deserialize, Serialize};

/// The most bytes an `archive.json` may have: a hundred thousand sets fit.
pub(crate) const MAX_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    pub format: u32,
    pub cluster: ClusterName,
    /// The master that packed it.
    pub host: HostName,
    pub night: Night,
    /// 1 for the first archive of the night; later ones hold what came late.
    pub edition: u16,
    pub made_at: Timestamp,
    /// The version of nightshift that made it.
    pub made_with: String,
    /// In the order in which they lie in the archive.
    pub sets: Vec<ArchivedSet>,
    /// What was expected and is not here, one line each, with its reason.
    pub missing: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedSet {
    #[serde(flatten)]
    pub id: SetId,
    pub grade: Grade,
    /// Of the bytes of its `manifest.json`.
    pub manifest_sha256: Digest,
    /// What lies beside its files without standing in its manifest: its signature and proofs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached: Vec<Attached>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Relative to the archive's top folder.
    pub path: String,
    pub size: u64,
    pub sha256: Digest,
}

impl ArchivedSet {
    /// The set's directory, relative to the archive's top directory.
    pub fn dir_name(&self) -> String {
        folder_of(&self.id)
    }
}

/// The folder of a set within the archive's top folder: the night is in the archive's own name.
pub(crate) fn folder_of(set: &SetId) -> String {
    format!("{}/{}", set.host, set.dir_name())
}

/// The archive's one top folder: its name without what says how it is packed.
pub(crate) fn top_folder(name: &ArchiveName) -> String {
    let mut top = name.to_string();
    if let Some(at) = top.rfind(if name.zstd { ".tar.zst" } else { ".tgz" }) {
        top.truncate(at);
    }
    top
}

/// Why an `archive.json` is not the one of the archive it lies in.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    #[error("it is not valid JSON of the expected shape")]
    Shape(#[source] serde_json::Error),
    #[error("it has format {0}, newer than this nightshift understands: upgrade nightshift to read it")]
    Newer(u32),
    #[error("it is that of the archive {0}")]
    OtherArchive(String),
}

impl Contents {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the `archive.json` of the archive called `name`.
    pub(crate) fn decode(bytes: &[u8], name: &ArchiveName) -> Result<Self, ContentsError> {
        let Versioned { format } = serde_json::from_slice(bytes).map_err(ContentsError::Shape)?;
        if format > FORMAT {
            return Err(ContentsError::Newer(format));
        }
        let contents: Self = serde_json::from_slice(bytes).map_err(ContentsError::Shape)?;
        let (date, extra) = (contents.night.date, contents.night.extra);
        if (&contents.host, date, extra, contents.edition)
            != (&name.host, name.date, name.extra, name.edition)
        {
            let of =
                ArchiveName { host: contents.host, date, extra, edition: contents.edition, ..name.clone() };
            return Err(ContentsError::OtherArchive(top_folder(&of)));
        }
        Ok(contents)
    }
}

#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

/// Whether an item is an entry: a link that leaves its set would be a trap for whoever unpacks the archive
/// somewhere else, so it stands in the manifest alone.
pub(crate) fn is_packed(item: &Item) -> bool {
    match &item.kind {
        ItemKind::File { .. } | ItemKind::Directory => true,
        ItemKind::Symlink { target } => link_stays_inside(&item.path, target),
    }
}

/// In whole seconds, all that a tar header holds; what is older than 1970 is as old as that.
pub(crate) fn header_time(modified: Timestamp) -> u64 {
    modified.as_second().max(0).cast_unsigned()
}
