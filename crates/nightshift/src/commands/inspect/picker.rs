//! Takes the snapshot of one set out of an archive while that is read.

use std::io::Write;
use std::path::Path;

use nightshift_archive::{ArchivedSet, Contents, Visitor};
use nightshift_core::manifest::Manifest;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_store::spool::{Spool, SpoolError, snapshot_of};
use nightshift_store::verify::raw_size;

use crate::args::Choice;
use crate::out;

pub struct Picker<'c> {
    choice: &'c Choice,
    scratch: &'c Path,
    /// The one that was asked for, or the best.
    pub set: Option<SetId>,
    pub snapshot: Option<Picked>,
    /// Why the snapshot could not be begun.
    pub refused: Option<SpoolError>,
}

pub struct Picked {
    pub manifest: Manifest,
    pub spool: Spool,
    /// Its path below the archive's folder.
    path: String,
    taken: bool,
}

impl<'c> Picker<'c> {
    pub fn new(choice: &'c Choice, scratch: &'c Path) -> Self {
        Self { choice, scratch, set: None, snapshot: None, refused: None }
    }

    fn is_wanted(&self, id: &SetId) -> bool {
        match &self.choice.set {
            Some(set) => id == set,
            None => id.role == Role::Etcd && self.choice.host.as_ref().is_none_or(|host| id.host == *host),
        }
    }
}

impl Visitor for Picker<'_> {
    fn contents(&mut self, contents: &Contents) {
        let sets: Vec<_> = contents.sets.iter().filter(|set| self.is_wanted(&set.id)).collect();
        // The best grade; of equals the last attempt of the first host.
        let best = sets.iter().max_by(|a, b| {
            let by_id = || b.id.host.cmp(&a.id.host).then(a.id.attempt.cmp(&b.id.attempt));
            a.grade.cmp(&b.grade).then_with(by_id)
        });
        let Some(best) = best else { return };
        if sets.len() > 1 {
            out::complain(&format!("looking into {}, the best of {} etcd sets", best.id, sets.len()));
        }
        self.set = Some(best.id.clone());
    }

    fn set(&mut self, set: &ArchivedSet, manifest: &Manifest) {
        if self.set.as_ref() != Some(&set.id) {
            return;
        }
        let Some((item, packing, _)) = snapshot_of(manifest) else { return };
        let path = format!("{}/{}", set.folder(), item.path);
        match Spool::new(self.scratch, packing, raw_size(manifest)) {
            Ok(spool) => {
                self.snapshot = Some(Picked { manifest: manifest.clone(), spool, path, taken: false });
            }
            Err(error) => self.refused = Some(error),
        }
    }

    fn file(&mut self, path: &str) -> Option<&mut dyn Write> {
        let snapshot = self.snapshot.as_mut().filter(|snapshot| snapshot.path == path)?;
        snapshot.taken = true;
        Some(&mut snapshot.spool)
    }

    fn has_all(&self) -> bool {
        self.refused.is_some() || self.snapshot.as_ref().is_some_and(|snapshot| snapshot.taken)
    }
}
