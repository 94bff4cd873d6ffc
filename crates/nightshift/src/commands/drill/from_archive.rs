//! Unpacks an etcd set from an archive into the scratch directory, decrypting the archive in the foreground.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use indicatif::ProgressBar;
use nightshift_archive::Contents;
use nightshift_core::manifest::Manifest;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_engine::drill::job::Stored;
use nightshift_etcd::trial::scratch::{ARCHIVE, Scratch};
use nightshift_store::{best, space};

use crate::commands::CommandError;
use crate::commands::archive_file::{self, Extracted};
use crate::report;

/// Unpacks the wanted set, or else the best etcd set. The content is verified while it is read.
pub fn unpack(
    settings: &Settings,
    archive: &Path,
    identity: Option<&Path>,
    wanted: Option<SetId>,
) -> Result<(Scratch, Manifest), CommandError> {
    let usage = |what: String| CommandError::Usage(format!("{}: {what}", archive.display()));
    let name = archive_file::require_name(archive, identity)?;
    let scratch = Scratch::create(&settings.drill.scratch, ARCHIVE)?;
    let choose = |contents: &Contents| {
        let sets = contents.sets.iter().filter(|set| match &wanted {
            Some(wanted) => set.id == *wanted,
            None => set.id.role == Role::Etcd,
        });
        Some(best(sets, |set| (set.id.clone(), set.grade))?.id.clone())
    };
    let begin = |manifest: &Manifest| create(&scratch, manifest).map_err(usage);
    let hidden = ProgressBar::hidden();
    let extracted = archive_file::extract(archive, &name, identity, &hidden, &choose, &begin)?;
    let Extracted { manifest, .. } =
        extracted.ok_or_else(|| usage("the archive has no such etcd set".to_owned()))?;
    if let Some((item, _)) = Stored::file_in(&manifest) {
        scratch.give_to_worker(&item.path)?;
    }
    Ok((scratch, manifest))
}

/// The path of the set's snapshot, and a new file for it.
fn create(scratch: &Scratch, manifest: &Manifest) -> Result<(String, File), String> {
    let (item, size) = Stored::file_in(manifest).ok_or(
        "the set has no etcd snapshot file; a backup of only v2 keys is a directory: unpack it and use --data-dir",
    )?;
    space::require(scratch.directory(), size, 1, 0).map_err(|error| report::in_full(&error))?;
    let path = scratch.path(&item.path);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(|error| format!("cannot create {} ({error})", path.display()))?;
    Ok((item.path.clone(), file))
}
