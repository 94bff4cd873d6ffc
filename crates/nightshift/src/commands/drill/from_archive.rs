//! Copies an etcd set's snapshot out of an archive into a file without a name, decrypting the archive in the foreground.

use std::cell::Cell;
use std::fs::File;
use std::io::Seek as _;
use std::path::Path;

use indicatif::ProgressBar;
use nightshift_archive::Contents;
use nightshift_core::manifest::Manifest;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_engine::drill::job::Subject;
use nightshift_engine::drill::set_copy::{OpenedCopy, SetCopy, Stored};
use nightshift_store::best;
use nightshift_store::spool::scratch_file;

use crate::commands::CommandError;
use crate::commands::archive_file::{self, Extracted};
use crate::commands::scratch::default_scratch;
use crate::report;

/// Opens the wanted set, or else the best etcd set. The content is verified while it is read.
pub fn unpack(
    archive: &Path,
    identity: Option<&Path>,
    wanted: Option<SetId>,
) -> Result<Subject, CommandError> {
    let usage = |what: String| CommandError::Usage(format!("{}: {what}", archive.display()));
    let name = archive_file::require_name(archive, identity)?;
    let choose = |contents: &Contents| {
        let sets = contents.sets.iter().filter(|set| match &wanted {
            Some(wanted) => set.id == *wanted,
            None => set.id.role == Role::Etcd,
        });
        Some(best(sets, |set| (set.id.clone(), set.grade))?.id.clone())
    };
    let chosen = Cell::new(None);
    let begin = |manifest: &Manifest| {
        let (item, file, stored) = create(manifest).map_err(usage)?;
        chosen.set(Some(stored));
        Ok((item, file))
    };
    let hidden = ProgressBar::hidden();
    let extracted = archive_file::extract(archive, &name, identity, &hidden, &choose, &begin)?;
    let (Some(Extracted { manifest, mut file }), Some(stored)) = (extracted, chosen.get()) else {
        return Err(usage("the archive has no such etcd set".to_owned()));
    };
    file.rewind().map_err(|source| CommandError::Read { path: default_scratch(), source })?;
    let copy = format!("{} of {}", manifest.id(), archive.display());
    Ok(Subject::of_set(copy, OpenedCopy { stored, file }, &manifest, manifest.etcd.clone()))
}

/// The path of the set's snapshot, a new file for it, and how it is restored.
fn create(manifest: &Manifest) -> Result<(String, File, Stored), String> {
    let (item, size, stored) = SetCopy::file_in(manifest).ok_or(
        "the set has no etcd snapshot file; a backup of only v2 keys is a directory: unpack it and use --data-dir",
    )?;
    let file = scratch_file(&default_scratch(), size).map_err(|error| report::in_full(&error))?;
    Ok((item.path.clone(), file, stored))
}
