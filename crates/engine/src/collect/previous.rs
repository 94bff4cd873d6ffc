//! The files of the previous set: one that is unchanged is linked, so that each content is stored once.

use std::collections::HashMap;

use nightshift_core::digest::Written;
use nightshift_core::manifest::Manifest;
use nightshift_core::set_path::SetId;
use nightshift_store::{Partial, StoreError};

#[derive(Debug, Clone, Default)]
pub struct Previous {
    set: Option<SetId>,
    files: HashMap<String, Written>,
}

impl Previous {
    pub fn of(manifest: Option<&Manifest>) -> Self {
        let files = manifest.into_iter().flat_map(Manifest::files);
        let files = files.map(|(item, size, sha256)| (item.path.clone(), Written { size, sha256 }));
        Self { set: manifest.map(Manifest::id), files: files.collect() }
    }

    /// Replaces a file of the set by a link to the previous one, if that has the same path and content. False if it does not.
    pub fn link(&self, partial: &Partial, path: &str, written: Written) -> Result<bool, StoreError> {
        match &self.set {
            Some(set) if self.files.get(path) == Some(&written) => partial.link(set, path, path, written),
            _ => Ok(false),
        }
    }
}
