//! The file of an archive, decrypted where it is encrypted.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use indicatif::ProgressBar;
use nightshift_archive::{ArchivedSet, Contents, ListError, Visitor, open_encrypted, visit_blocking};
use nightshift_core::archive::{ArchiveName, NotAnArchive};
use nightshift_core::manifest::Manifest;
use nightshift_core::set_path::SetId;

use super::CommandError;
use super::content::{self, Content};

/// The archive's name: that of the file, or of its content if the file was renamed.
pub fn require_name(path: &Path, identity: Option<&Path>) -> Result<ArchiveName, CommandError> {
    match content::of(path, identity)? {
        Content::Archive(name) => Ok(name),
        Content::Snapshot => Err(CommandError::Usage(format!("{}: {NotAnArchive}", path.display()))),
    }
}

/// Opens an archive; `progress` shows how much of the file is read.
pub fn open(
    path: &Path,
    name: &ArchiveName,
    identity: Option<&Path>,
    progress: &ProgressBar,
) -> Result<Box<dyn Read + Send>, CommandError> {
    let file = BufReader::new(progress.wrap_read(read(path)?));
    match (name.encrypted, identity) {
        (false, _) => Ok(Box::new(file)),
        (true, identity) => {
            let identities = content::identities(path, identity)?;
            let opened = open_encrypted(file, &identities)
                .map_err(CommandError::failed(format!("cannot decrypt {}", path.display())))?;
            Ok(Box::new(opened))
        }
    }
}

fn read(path: &Path) -> Result<File, CommandError> {
    File::open(path).map_err(|source| CommandError::Read { path: path.to_owned(), source })
}

/// The archive itself is at fault.
pub fn invalid(path: &Path) -> impl FnOnce(ListError) -> CommandError {
    CommandError::failed(format!("{} is not a valid archive", path.display()))
}

/// A file of a set, copied out of an archive and verified.
pub struct Extracted {
    pub manifest: Manifest,
    pub file: File,
}

type Choose<'a> = dyn Fn(&Contents) -> Option<SetId> + 'a;
type Begin<'a> = dyn Fn(&Manifest) -> Result<(String, File), CommandError> + 'a;

/// Copies one file of the set that `choose` picks from an archive, and reads no further. `begin` names the file in the set and
/// opens the copy. `None` if no set was picked.
pub fn extract(
    path: &Path,
    name: &ArchiveName,
    identity: Option<&Path>,
    progress: &ProgressBar,
    choose: &Choose<'_>,
    begin: &Begin<'_>,
) -> Result<Option<Extracted>, CommandError> {
    let reader = open(path, name, identity, progress)?;
    let mut extraction = Extraction { choose, begin, set: None, path: None, result: Ok(None) };
    let visited = visit_blocking(reader, name, &mut extraction);
    let extracted = extraction.result?;
    visited.map_err(invalid(path))?;
    Ok(extracted)
}

struct Extraction<'a> {
    choose: &'a Choose<'a>,
    begin: &'a Begin<'a>,
    set: Option<SetId>,
    /// The path of the wanted file below the archive's top directory, until the file was found.
    path: Option<String>,
    result: Result<Option<Extracted>, CommandError>,
}

impl Visitor for Extraction<'_> {
    fn contents(&mut self, contents: &Contents) {
        self.set = (self.choose)(contents);
    }

    fn set(&mut self, set: &ArchivedSet, manifest: &Manifest, _: &[u8]) {
        if self.set.as_ref() == Some(&set.id) {
            self.result = (self.begin)(manifest).map(|(item, file)| {
                self.path = Some(format!("{}/{item}", set.dir_name()));
                Some(Extracted { manifest: manifest.clone(), file })
            });
        }
    }

    fn file(&mut self, path: &str) -> Option<&mut dyn Write> {
        self.path.take_if(|wanted| wanted == path)?;
        let extracted = self.result.as_mut().ok()?.as_mut()?;
        Some(&mut extracted.file)
    }

    fn has_all(&self) -> bool {
        let begun = !matches!(self.result, Ok(None));
        self.set.is_none() || (begun && self.path.is_none())
    }
}
