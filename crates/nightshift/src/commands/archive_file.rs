//! An archive's file, decrypted where it is encrypted.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use indicatif::ProgressBar;
use nightshift_archive::{Identities, open_encrypted};
use nightshift_core::archive::ArchiveName;

use super::CommandError;

/// The name that a file's name is; `None` for one that is no archive of ours.
pub fn name_of(path: &Path) -> Option<ArchiveName> {
    path.file_name()?.to_str()?.parse().ok()
}

/// Opens an archive; what is read of the file is shown on `progress`.
pub fn open(
    path: &Path,
    name: &ArchiveName,
    identity: Option<&Path>,
    progress: &ProgressBar,
) -> Result<Box<dyn Read + Send>, CommandError> {
    let file = BufReader::new(progress.wrap_read(read(path)?));
    match (name.encrypted, identity) {
        (false, _) => Ok(Box::new(file)),
        (true, Some(identity)) => {
            let unusable = |error| CommandError::Usage(format!("{}: {error}", identity.display()));
            let identities = Identities::read(BufReader::new(read(identity)?)).map_err(unusable)?;
            let opened = open_encrypted(file, &identities)
                .map_err(|source| CommandError::Unopened { path: path.to_owned(), source })?;
            Ok(Box::new(opened))
        }
        (true, None) => Err(CommandError::Usage(format!(
            "{} is encrypted: name the file with your age identity by --identity",
            path.display()
        ))),
    }
}

fn read(path: &Path) -> Result<File, CommandError> {
    File::open(path).map_err(|source| CommandError::Read { path: path.to_owned(), source })
}
