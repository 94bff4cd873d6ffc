//! RESTORE.txt, made of the etcd sets of a night.

use nightshift_archive::StoredSet;
use nightshift_core::by_hand::{ByHand, EtcdSet, Member, Packed};
use nightshift_core::role::Role;
use nightshift_store::{Vault, read_below};

use crate::context::StageContext;

/// Bytes of a configuration of etcd: a larger one is not read.
const MAX_CONFIG: u64 = 1 << 20;

/// The text of an archive with these sets, or of a kit. Blocks.
pub fn text(ctx: &StageContext, sets: &[StoredSet], archive: Option<Packed<'_>>) -> String {
    let with_etcd = sets.iter().filter(|set| set.manifest.etcd.is_some());
    let etcd: Vec<EtcdSet<'_>> =
        with_etcd.map(|set| EtcdSet { manifest: &set.manifest, directory: set.id.in_night() }).collect();
    let data = etcd.iter().filter_map(|set| set.manifest.etcd.as_ref()?.data.as_ref());
    let masters = sets.iter().filter(|set| set.id.role == Role::Master);
    let by_hand = ByHand {
        settings: &ctx.settings,
        archive,
        control_plane: masters.filter_map(|set| set.manifest.system.as_ref()?.control_plane).next(),
        members: Member::all(&ctx.settings, &etcd, |set, path| read(&ctx.vault, set, path)),
        has_v2: data.into_iter().any(|data| data.v2),
    };
    by_hand.to_string()
}

/// A file of a set by its path on the host.
fn read(vault: &Vault, set: &EtcdSet<'_>, path: &str) -> Option<String> {
    let item = set.manifest.files().find(|(item, ..)| item.source == path)?.0;
    let directory = vault.directory(&set.manifest.id());
    Some(String::from_utf8_lossy(&read_below(&directory, &item.path, MAX_CONFIG).ok()?).into_owned())
}
