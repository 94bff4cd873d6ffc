//! What is to be packed: the sets of a night, and where the archive goes.

use std::fs::File;
use std::path::PathBuf;

use jiff::Timestamp;
use nightshift_core::archive::ArchiveName;
use nightshift_core::manifest::Manifest;
use nightshift_core::name::{ClusterName, HostName};
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Compression;

use crate::damage::Damage;
use crate::error::PackError;

/// What to pack, and where to.
pub struct PackRequest {
    pub cluster: ClusterName,
    /// The master that packs.
    pub host: HostName,
    pub night: Night,
    /// 1 for the first archive of the night.
    pub edition: u16,
    pub made_at: Timestamp,
    pub made_with: String,
    pub sets: Vec<HeldSet>,
    /// What was expected and is not among the sets, one line each, with its reason.
    pub missing: Vec<String>,
    pub compression: Compression,
    /// age public keys; none means that the archive is not encrypted.
    pub recipients: Vec<String>,
    /// A new file, opened by the caller for this archive alone.
    pub out: File,
}

/// A set in this vault.
pub struct HeldSet {
    pub id: SetId,
    pub folder: PathBuf,
    pub manifest: Manifest,
    /// What it is worth, with what was found and stated about it later.
    pub grade: Grade,
}

impl PackRequest {
    /// The name under which the archive is to be published.
    pub fn name(&self) -> ArchiveName {
        let encrypted = !self.recipients.is_empty();
        let Night { date, extra } = self.night;
        let first = ArchiveName::new(self.host.clone(), date, extra, self.compression, encrypted);
        ArchiveName { edition: self.edition, ..first }
    }
}

impl HeldSet {
    pub(crate) fn damaged(&self, path: &str, source: Damage) -> PackError {
        PackError::Damaged { set: self.id.clone(), path: path.to_owned(), source: Box::new(source) }
    }
}
