//! What to pack: the sets of a night, and the file to write.

use std::fs::File;
use std::path::PathBuf;

use nightshift_core::archive::ArchiveName;
use nightshift_core::manifest::Manifest;
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Compression;

use crate::contents::Contents;
use crate::damage::Damage;
use crate::error::PackError;

pub struct PackRequest {
    /// The archive's `archive.json`, but for its sets and files: those are made of `sets` and `files`.
    pub contents: Contents,
    pub sets: Vec<StoredSet>,
    /// The archive's own files.
    pub files: Vec<OwnFile>,
    pub compression: Compression,
    /// age public keys. Without any the archive is not encrypted.
    pub recipients: Vec<String>,
    /// A new file, opened by the caller for this archive alone.
    pub out: File,
}

/// RESTORE.txt or allowed_signers.
pub struct OwnFile {
    pub name: &'static str,
    pub content: String,
}

/// A set in this host's vault.
pub struct StoredSet {
    pub id: SetId,
    pub directory: PathBuf,
    pub manifest: Manifest,
    /// The grade by all that is known now. The manifest has that of the time when the set was made.
    pub grade: Grade,
}

impl PackRequest {
    /// The name under which the archive is to be published.
    pub fn name(&self) -> ArchiveName {
        let Contents { host, night: Night { date, extra }, edition, .. } = &self.contents;
        let encrypted = !self.recipients.is_empty();
        let first = ArchiveName::new(host.clone(), *date, *extra, self.compression, encrypted);
        ArchiveName { edition: *edition, ..first }
    }
}

impl StoredSet {
    pub(crate) fn damaged(&self, path: &str, source: Damage) -> PackError {
        PackError::Damaged { set: self.id.clone(), path: path.to_owned(), source: Box::new(source) }
    }
}
