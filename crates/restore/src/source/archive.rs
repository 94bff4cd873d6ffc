//! The sets of an archive.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use nightshift_archive::{ArchivedSet, Visitor, visit_blocking};
use nightshift_core::archive::ArchiveName;
use nightshift_core::manifest::{FILE, Manifest};
use nightshift_core::outcome::Grade;

use super::{Sets, create};
use crate::error::RestoreError;

/// Unpacks a decrypted archive into `directory`: each set in `<host>/<role>/`.
pub fn unpack(
    reader: impl Read + Unpin + Send,
    name: &ArchiveName,
    path: &Path,
    directory: &Path,
) -> Result<Sets, RestoreError> {
    let mut unpacking = Unpacking {
        directory: directory.to_owned(),
        sets: Vec::new(),
        files: HashSet::new(),
        file: None,
        failed: None,
    };
    let listing = visit_blocking(reader, name, &mut unpacking);
    if let Some(error) = unpacking.failed {
        return Err(error);
    }
    let listing = listing.map_err(|source| RestoreError::Archive { path: path.to_owned(), source })?;
    Ok(Sets { night: listing.contents.night, sets: unpacking.sets, missing: listing.contents.missing })
}

struct Unpacking {
    directory: PathBuf,
    sets: Vec<(Manifest, Grade)>,
    /// The files of the set that is being read. The reader also calls for directories and links.
    files: HashSet<String>,
    file: Option<File>,
    failed: Option<RestoreError>,
}

impl Unpacking {
    fn open(&mut self, path: &str) {
        match create(&self.directory.join(path)) {
            Ok(file) => self.file = Some(file),
            Err(error) => {
                self.file = None;
                self.failed.get_or_insert(error);
            }
        }
    }
}

impl Visitor for Unpacking {
    fn set(&mut self, set: &ArchivedSet, manifest: &Manifest, bytes: &[u8]) {
        self.sets.push((manifest.clone(), set.grade));
        let items = manifest.files().map(|(item, ..)| format!("{}/{}", set.dir_name(), item.path));
        self.files = items.chain(set.attached.iter().map(|attached| attached.path.clone())).collect();
        let path = format!("{}/{FILE}", set.dir_name());
        self.open(&path);
        if let Some(file) = &mut self.file
            && let Err(source) = file.write_all(bytes)
        {
            let path = self.directory.join(path);
            self.failed.get_or_insert(RestoreError::Io { doing: "write", path, source });
        }
    }

    fn file(&mut self, path: &str) -> Option<&mut dyn Write> {
        if !self.files.remove(path) {
            return None;
        }
        self.open(path);
        self.file.as_mut().map(|file| file as &mut dyn Write)
    }

    /// The reading ends at the first file that cannot be written.
    fn has_all(&self) -> bool {
        self.failed.is_some()
    }
}
