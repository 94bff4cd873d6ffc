//! Extracts something from an archive while it is verified.

use std::io::Write;

use nightshift_core::manifest::Manifest;

use crate::contents::{ArchivedSet, Contents};

/// Sees the content of an archive while it is read. The reader verifies before it calls, except the data of a file:
/// that is verified when the next call is made, or the reading ends without an error.
pub trait Visitor {
    /// The first call.
    fn contents(&mut self, _contents: &Contents) {}

    /// Called before the set's files, with the bytes of its manifest, which its host signed.
    fn set(&mut self, _set: &ArchivedSet, _manifest: &Manifest, _bytes: &[u8]) {}

    /// Returns a writer to get a file's data. `path` begins with the set's `ArchivedSet::dir_name`.
    fn file(&mut self, _path: &str) -> Option<&mut dyn Write> {
        None
    }

    /// Called after each file, when it is verified: true ends the reading.
    fn has_all(&self) -> bool {
        false
    }
}

/// Extracts nothing: the archive is verified to its end.
impl Visitor for () {}
