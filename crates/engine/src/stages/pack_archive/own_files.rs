//! The files of an archive that are in no set.

use nightshift_archive::{OwnFile, StoredSet, left_out};
use nightshift_core::archive::{ALLOWED_SIGNERS, ArchiveName, RESTORE_TEXT};
use nightshift_core::by_hand::Packed;

use crate::context::StageContext;
use crate::stages::{by_hand, host_keys};

pub fn of(ctx: &StageContext, name: &ArchiveName, sets: &[StoredSet]) -> Vec<OwnFile> {
    let snapshot = |set: &StoredSet| {
        let item = set.manifest.snapshot()?;
        let revision = set.manifest.etcd.as_ref()?.last_revision();
        Some((set.grade, revision, set.id.clone(), item.path.clone()))
    };
    let best = sets.iter().filter_map(snapshot).filter(|(grade, ..)| grade.is_copy()).max();
    let links = sets
        .iter()
        .flat_map(|set| left_out(&set.manifest).into_iter().map(|item| (set.id.host.clone(), item)));
    let packed =
        Packed { name, snapshot: best.map(|(_, _, set, item)| (set, item)), left_out: links.collect() };
    let restore = by_hand::text(ctx, sets, Some(packed));
    [(RESTORE_TEXT, restore), (ALLOWED_SIGNERS, host_keys::allowed_signers(ctx))]
        .map(|(name, content)| OwnFile { name, content })
        .into()
}
