//! An etcd set taken out of an archive, decrypted in the foreground, into the scratch folder.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use indicatif::ProgressBar;
use nightshift_archive::{ArchivedSet, Contents, Visitor, visit_blocking};
use nightshift_core::archive::ArchiveName;
use nightshift_core::manifest::Manifest;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_engine::drill::Stored;
use nightshift_etcd::trial::{ARCHIVE, Scratch};
use nightshift_store::space;

use crate::commands::{CommandError, archive_file};
use crate::report;

/// Takes the set, or the best etcd set where none is named; what is taken is checked on the way.
pub fn take(
    settings: &Settings,
    archive: &Path,
    identity: Option<&Path>,
    wanted: Option<SetId>,
) -> Result<(Scratch, Manifest), CommandError> {
    let usage = |what: String| CommandError::Usage(format!("{}: {what}", archive.display()));
    let name: ArchiveName = (archive.file_name().and_then(|name| name.to_str()).unwrap_or_default())
        .parse()
        .map_err(|error: nightshift_core::archive::NotAnArchive| usage(error.to_string()))?;
    let scratch = Scratch::take(&settings.drill.scratch, ARCHIVE)?;
    let mut taker =
        Taker { scratch: &scratch, wanted, chosen: None, taken: None, trouble: None, begun: false };
    let opened = archive_file::open(archive, &name, identity, &ProgressBar::hidden())?;
    let visited = visit_blocking(opened, &name, &mut taker);
    let Taker { taken, trouble, .. } = taker;
    if let Some(trouble) = trouble {
        return Err(usage(trouble));
    }
    visited.map_err(|source| CommandError::Archive { path: archive.to_owned(), source })?;
    let Some(Taken { manifest, item, .. }) = taken else {
        return Err(usage("it holds no such etcd snapshot".to_owned()));
    };
    scratch.hand_over(&item)?;
    Ok((scratch, manifest))
}

struct Taker<'a> {
    scratch: &'a Scratch,
    wanted: Option<SetId>,
    chosen: Option<ArchivedSet>,
    taken: Option<Taken>,
    trouble: Option<String>,
    /// The snapshot was handed over; it is whole once its check went well.
    begun: bool,
}

struct Taken {
    manifest: Manifest,
    item: String,
    path: String,
    file: File,
}

impl Taker<'_> {
    fn begin(&self, set: &ArchivedSet, manifest: &Manifest) -> Result<Taken, String> {
        let (item, size) = Stored::file_in(manifest).ok_or(
            "it holds no etcd snapshot in one file: a backup of v2 keys alone is a folder, so unpack it and name that by \
             --data-dir",
        )?;
        space::demand(self.scratch.folder(), size, 1, 0).map_err(|error| report::in_full(&error))?;
        let path = self.scratch.path(&item.path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| format!("{} cannot be created: {error}", path.display()))?;
        let path = format!("{}/{}", set.folder(), item.path);
        Ok(Taken { manifest: manifest.clone(), item: item.path.clone(), path, file })
    }
}

impl Visitor for Taker<'_> {
    fn contents(&mut self, contents: &Contents) {
        let sets = contents.sets.iter().filter(|set| match &self.wanted {
            Some(wanted) => set.id == *wanted,
            None => set.id.role == Role::Etcd,
        });
        self.chosen = sets.max_by_key(|set| (set.grade, set.id.attempt)).cloned();
    }

    fn set(&mut self, set: &ArchivedSet, manifest: &Manifest) {
        if self.chosen.as_ref().is_some_and(|chosen| chosen.id == set.id) {
            match self.begin(set, manifest) {
                Ok(taken) => self.taken = Some(taken),
                Err(trouble) => self.trouble = Some(trouble),
            }
        }
    }

    fn file(&mut self, path: &str) -> Option<&mut dyn Write> {
        let taken = self.taken.as_mut().filter(|taken| taken.path == path)?;
        self.begun = true;
        Some(&mut taken.file)
    }

    fn has_all(&self) -> bool {
        self.begun || self.chosen.is_none() || self.trouble.is_some()
    }
}
