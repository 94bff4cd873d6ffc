//! Where the sets of a night come from. Every byte is verified by its manifest while it is copied to the restore's own directory.

pub mod archive;
pub mod remote;
pub mod vault;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nightshift_core::manifest::Manifest;
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::restore::evidence::FoundSet;
use nightshift_store::restorable::texts;

use crate::directory::private_directory;
use crate::error::{Doing as _, RestoreError};

/// The sets of one night, unpacked.
#[derive(Debug)]
pub struct Sets {
    pub night: Night,
    pub sets: Vec<(Manifest, Grade)>,
    /// What the source itself says is missing, one line each.
    pub missing: Vec<String>,
}

/// The small files of the sets that a plan reads.
pub fn found(sets: &Sets, directory: &Path) -> Result<Vec<FoundSet>, RestoreError> {
    sets.sets
        .iter()
        .map(|(manifest, grade)| {
            let id = manifest.id();
            let texts = texts(&directory.join(id.in_night()), manifest)?;
            Ok(FoundSet { manifest: manifest.clone(), grade: *grade, texts })
        })
        .collect()
}

/// A new file in the directory of a set, which no other user can read.
pub(crate) fn create(path: &Path) -> Result<File, RestoreError> {
    path.parent().map_or(Ok(()), private_directory)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).doing("create", path)
}
