//! Takes something out of an archive while it is checked.

use std::io::Write;

use nightshift_core::manifest::Manifest;

use crate::contents::{ArchivedSet, Contents};

/// Sees what an archive holds as it comes by. What is handed over was checked but for the data of files: those
/// are sound only once the next call is made, or the reading has ended well.
pub trait Visitor: Send {
    /// Comes first, and once.
    fn contents(&mut self, _contents: &Contents) {}

    /// Comes before the set's files.
    fn set(&mut self, _set: &ArchivedSet, _manifest: &Manifest) {}

    /// Where the data of a file goes to; `path` begins with the set's `ArchivedSet::folder`.
    fn file(&mut self, _path: &str) -> Option<&mut dyn Write> {
        None
    }

    /// Asked after each file, once it was found good: true ends the reading.
    fn has_all(&self) -> bool {
        false
    }
}

/// Wants nothing: the archive is checked to its end.
pub(crate) struct Nobody;

impl Visitor for Nobody {}
