//! v2 keys alone: `etcdctl backup`, which counts as a copy only if it can be replayed.

use std::ffi::OsStr;
use std::fs::{File, read_dir};
use std::io;
use std::path::Path;
use std::time::Duration;

use nightshift_core::chain;
use nightshift_core::etcd_facts::V2Backup;
use nightshift_core::manifest::Item;
use nightshift_etcd::discover::LocalMember;
use nightshift_etcd::health::Member;
use nightshift_etcd::trial::fault::Fault;
use nightshift_etcd::trial::tools::installed_program;
use nightshift_etcd::v2::backup::back_up;
use nightshift_etcd::v2::client::V2Client;
use nightshift_etcd::v2::replay::replay;
use nightshift_store::space::SpaceError;
use nightshift_store::{Budget, Partial, hash_file, offload, sync_directory, sync_file, tree};

use super::draft::item;
use super::space;
use crate::context::StageContext;
use crate::stages::own_set::Draft;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
const BACKUP_TIMEOUT: Duration = Duration::from_secs(600);
const REPLAY_TIMEOUT: Duration = Duration::from_secs(300);
/// The backup's directory in the set.
const DIRECTORY: &str = "v2";

/// Adds a backup to the set. Without it the set is bad, because the snapshot contains none of the member's keys.
pub async fn add(
    ctx: &StageContext,
    local: &LocalMember,
    member: &Member,
    partial: &Partial,
    draft: &mut Draft,
) -> Option<V2Backup> {
    let flushed = async { V2Client::of_member(local, REQUEST_TIMEOUT)?.read_through_log().await };
    if let Err(error) = flushed.await {
        draft
            .notes
            .push(format!("the last writes to v2 keys may be missing in the backup: {}", chain(&error)));
    }
    match back_up_member(ctx, local, member, partial).await {
        Ok(items) => draft.items.extend(items),
        Err(reason) => {
            draft.bad.push(format!("the v2 keys are not in this set: {reason}"));
            return None;
        }
    }
    let directory = partial.directory().join(DIRECTORY);
    let keys = match replay_backup(ctx, local, member, &directory).await {
        Ok(keys) => {
            if keys == 0 {
                draft.bad.push(
                    "the v2 backup is empty when it is replayed, but the member has v2 keys".to_owned(),
                );
            }
            Some(keys)
        }
        Err(Fault::Copy(reason)) => {
            draft.bad.push(format!("the v2 backup cannot be replayed: {reason}"));
            None
        }
        Err(Fault::Here(reason)) => {
            draft
                .faults
                .push(format!("the v2 backup was not replayed, so it is not known to restore: {reason}"));
            None
        }
    };
    Some(V2Backup { directory: DIRECTORY.into(), keys })
}

async fn back_up_member(
    ctx: &StageContext,
    local: &LocalMember,
    member: &Member,
    partial: &Partial,
) -> Result<Vec<Item>, String> {
    let data_dir = local.data_dir.clone().ok_or("the member's data directory is unknown")?;
    let need = space::member_bytes(local, member);
    space::reserve(ctx, partial, need)
        .map_err(|error| format!("no space for `etcdctl backup`: {}", chain(&error)))?;
    let etcdctl = installed_program(&ctx.settings.drill.etcd_tools, &["etcdctl"])?;
    let (target, partial) = (partial.directory().join(DIRECTORY), partial.clone());
    offload::run(move || {
        back_up(&etcdctl, &data_dir, &target, BACKUP_TIMEOUT).map_err(|error| chain(&error))?;
        let items = items(&target, DIRECTORY, &format!("etcdctl backup --data-dir {}", data_dir.display()))?;
        charge(partial.budget(), &items).map_err(|error| {
            // Without its items, the backup is removed when the set is published.
            format!("the output of `etcdctl backup` is too large: {}", chain(&error))
        })?;
        Ok(items)
    })
    .await
}

/// Counts what the program wrote as used by the set.
fn charge(budget: &Budget, items: &[Item]) -> Result<(), SpaceError> {
    let bytes = items.iter().filter_map(Item::size).fold(0, u64::saturating_add);
    budget.draw(bytes, items.len() as u64)
}

/// The number of keys of the backup in a directory.
async fn replay_backup(
    ctx: &StageContext,
    local: &LocalMember,
    member: &Member,
    backup: &Path,
) -> Result<u64, Fault> {
    let scratch = ctx.settings.paths.scratch();
    space::require(ctx, local, member, &scratch, tree::size(backup))
        .map_err(|error| Fault::Here(format!("no space: {}", chain(&error))))?;
    let etcd = installed_program(&ctx.settings.drill.etcd_tools, &["etcd"]).map_err(Fault::Here)?;
    replay(&etcd, backup, &scratch, REPLAY_TIMEOUT).await
}

/// The files below a directory of the set that another program wrote, synced, as items of the set.
fn items(directory: &Path, path: &str, source: &str) -> Result<Vec<Item>, String> {
    let failed = |error: io::Error| format!("{}: {error}", directory.display());
    let mut items = Vec::new();
    for entry in read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = OsStr::to_str(&name).ok_or_else(|| format!("{name:?} is not valid UTF-8"))?;
        let below = format!("{path}/{name}");
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            items.extend(self::items(&entry.path(), &below, source)?);
        } else if kind.is_file() {
            let written = hash_file(&entry.path()).map_err(failed)?;
            sync_file(&File::open(entry.path()).map_err(failed)?).map_err(failed)?;
            items.push(item(below, source.to_owned(), written));
        } else {
            return Err(format!("{} is neither a directory nor a regular file", entry.path().display()));
        }
    }
    sync_directory(directory).map_err(failed)?;
    Ok(items)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_in_a_directory_become_items_and_a_link_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("member/wal")).unwrap();
        std::fs::write(directory.path().join("member/wal/0.wal"), "entries").unwrap();
        let found = items(directory.path(), "v2", "etcdctl").unwrap();
        assert_eq!(found.iter().map(|item| item.path.as_str()).collect::<Vec<_>>(), ["v2/member/wal/0.wal"]);
        std::os::unix::fs::symlink("/etc/shadow", directory.path().join("member/wal/1.wal")).unwrap();
        assert!(items(directory.path(), "v2", "etcdctl").unwrap_err().contains("1.wal"));
    }
}
