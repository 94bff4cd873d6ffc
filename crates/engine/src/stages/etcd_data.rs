//! What a v3 snapshot leaves out: v2 keys, as a v2 backup where there is nothing else, else as a cold copy.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::etcd_facts::{ColdCopy, DataFound, V2Backup};
use nightshift_core::manifest::{Item, ItemKind, Owner};
use nightshift_core::role::Role;
use nightshift_core::settings::{Compression, EtcdData, EtcdMembers};

use super::etcd_room;
use super::own_set::Draft;
use crate::cold_copy::{self, AskError, Asked, Request};
use crate::context::StageContext;
use nightshift_etcd as etcd;
use nightshift_etcd::{Client, Found, LocalMember, Member, V2};
use nightshift_store::offload;
use nightshift_store::space::SpaceError;
use nightshift_store::{Partial, StoreError, hash_file, sync_file, sync_folder};

/// One question about v2 keys.
const PATIENCE: Duration = Duration::from_secs(20);
const BACKED_UP: Duration = Duration::from_secs(600);
const REPLAYED: Duration = Duration::from_secs(300);
/// The v2 backup's folder in the set.
const V2_FOLDER: &str = "v2";

const MISSING: &str = "etcd holds v2 keys beside its v3 keys, and the snapshot has only the v3 ones: the v2 keys are not in this set";

#[derive(Debug, thiserror::Error)]
enum ColdCopyError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("not enough room for a cold copy, so nothing was stopped for one")]
    Space(#[from] SpaceError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Adds what the snapshot leaves out, and says in the draft what of the member's data the set holds.
pub async fn add(
    ctx: &StageContext,
    client: &Client,
    local: &LocalMember,
    member: &Member,
    partial: &Partial,
    draft: &mut Draft,
) {
    let mut found = match ctx.settings.etcd.data {
        EtcdData::V3 => return,
        EtcdData::V2 => DataFound { v2: true, ..DataFound::default() },
        EtcdData::Mixed => DataFound { v2: true, v3: true, ..DataFound::default() },
        EtcdData::Auto => ask(client, local, draft).await,
    };
    match (found.v3, found.v2) {
        (_, false) => {}
        (false, true) => back_up(ctx, local, member, partial, draft, &mut found).await,
        (true, true) => copy(ctx, local, member, partial, draft, &mut found).await,
    }
    if let Some(facts) = &mut draft.etcd {
        facts.data = Some(found);
    }
}

async fn ask(client: &Client, local: &LocalMember, draft: &mut Draft) -> DataFound {
    let Found { v3, v2 } = etcd::look(client, local, PATIENCE).await;
    let v2 = v2.unwrap_or_else(|error| {
        draft.faults.push(format!(
            "whether the member holds v2 keys, which a snapshot leaves out, is not known: {}; set `data` in [etcd] to \
             what it holds",
            chain(&error)
        ));
        false
    });
    // What could not be asked is taken to be there: the snapshot has it then.
    let v3 = v3.unwrap_or_else(|error| {
        draft.notes.push(format!("whether the member holds v3 keys is not known: {}", chain(&error)));
        true
    });
    DataFound { v3, v2, ..DataFound::default() }
}

/// v2 alone: what `etcdctl backup` makes, which counts once it was replayed.
async fn back_up(
    ctx: &StageContext,
    local: &LocalMember,
    member: &Member,
    partial: &Partial,
    draft: &mut Draft,
    found: &mut DataFound,
) {
    let settled = async { V2::of_member(local, PATIENCE)?.read_through_log().await };
    if let Err(error) = settled.await {
        draft.notes.push(format!("the last writes to v2 keys may not be in the backup: {}", chain(&error)));
    }
    let tools = ctx.settings.drill.etcd_tools.clone();
    let Some(data_dir) = local.data_dir.clone() else {
        draft.bad.push(
            "the v2 keys are not in this set: nothing tells where the member keeps its data".to_owned(),
        );
        return;
    };
    // All of this member's data is in there: without it the set is no copy.
    let mut missing = |why: String| draft.bad.push(format!("the v2 keys are not in this set: {why}"));
    let need = etcd_room::member_bytes(local, member);
    if let Err(error) = etcd_room::demand(ctx, local, member, ctx.vault.root(), need) {
        missing(format!("not enough room for `etcdctl backup`: {}", chain(&error)));
        return;
    }
    let (etcdctl, folder) = (tool(tools.as_deref(), "etcdctl"), partial.folder().join(V2_FOLDER));
    let (target, guard) = (folder.clone(), partial.guard());
    let made = offload::run(move || {
        let _guard = guard;
        etcd::v2::back_up(&etcdctl, &data_dir, &target, BACKED_UP).map_err(|error| chain(&error))?;
        items(&target, V2_FOLDER, &format!("etcdctl backup --data-dir {}", data_dir.display()))
    });
    match made.await {
        Ok(items) => draft.items.extend(items),
        Err(why) => return missing(why),
    }
    let keys = replay(ctx, local, member, &folder, draft).await;
    found.v2_backup = Some(V2Backup { directory: V2_FOLDER.to_owned(), keys });
}

/// How many keys the backup in a folder holds when it is replayed; what speaks against it, or against this host, is drafted.
async fn replay(
    ctx: &StageContext,
    local: &LocalMember,
    member: &Member,
    folder: &Path,
    draft: &mut Draft,
) -> Option<u64> {
    let drill = &ctx.settings.drill;
    if let Err(error) = etcd_room::demand(ctx, local, member, &drill.scratch, etcd_room::bytes_below(folder))
    {
        draft.faults.push(format!(
            "the v2 backup was not replayed, so nothing shows that it restores: not enough room for that: {}",
            chain(&error)
        ));
        return None;
    }
    let etcd = tool(drill.etcd_tools.as_deref(), "etcd");
    match etcd::v2::replay(&etcd, folder, &drill.scratch, REPLAYED).await {
        Ok(replayed) if replayed.keys == 0 => {
            draft
                .bad
                .push("the v2 backup holds no keys when it is replayed, and the member has some".to_owned());
            Some(0)
        }
        Ok(replayed) => Some(replayed.keys),
        Err(error @ etcd::v2::ReplayError::NoEtcd { .. }) => {
            draft.faults.push(format!(
                "the v2 backup was not replayed, so nothing shows that it restores: {}; name the folder with etcd's \
                 binaries as `etcd-tools` in [drill]",
                chain(&error)
            ));
            None
        }
        Err(error) if error.is_of_the_copy() => {
            draft.bad.push(format!("the v2 backup does not replay: {}", chain(&error)));
            None
        }
        Err(error) => {
            draft.faults.push(format!("the v2 backup was not replayed: {}", chain(&error)));
            None
        }
    }
}

fn tool(folder: Option<&Path>, name: &str) -> PathBuf {
    let usual = ["/usr/bin", "/usr/local/bin"].map(Path::new);
    let mut folders = folder.into_iter().chain(usual.into_iter().filter(|_| folder.is_none()));
    folders
        .find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()))
        .unwrap_or_else(|| folder.unwrap_or(usual[0]).join(name))
}

/// What lies below a folder of the set that somebody else wrote, synced, as items of it.
fn items(folder: &Path, path: &str, source: &str) -> Result<Vec<Item>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut items = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let below = format!("{path}/{}", OsStr::to_str(&name).ok_or_else(|| format!("{name:?} is no text"))?);
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            items.extend(self::items(&entry.path(), &below, source)?);
        } else if kind.is_file() {
            let written = hash_file(&entry.path()).map_err(failed)?;
            sync_file(&std::fs::File::open(entry.path()).map_err(failed)?).map_err(failed)?;
            let kind = ItemKind::File { size: written.size, sha256: written.sha256 };
            items.push(item(below, source.to_owned(), kind));
        } else {
            return Err(format!("{} is neither a folder nor a regular file", entry.path().display()));
        }
    }
    sync_folder(folder).map_err(failed)?;
    Ok(items)
}

fn item(path: String, source: String, kind: ItemKind) -> Item {
    Item {
        path,
        source,
        kind,
        owner: Owner { uid: 0, gid: 0, user: Some("root".to_owned()), group: Some("root".to_owned()) },
        mode: 0o600,
        modified: Timestamp::now(),
        selinux: None,
        changed: false,
    }
}

/// v2 and v3 together: tonight's member hands in its whole data, copied while it was stopped.
async fn copy(
    ctx: &StageContext,
    local: &LocalMember,
    member: &Member,
    partial: &Partial,
    draft: &mut Draft,
    found: &mut DataFound,
) {
    let name = match ctx.settings.etcd.compression {
        Compression::Gzip => "member.tar.gz",
        Compression::Zstd => "member.tar.zst",
    };
    draft.vanished.retain(|path| !path.starts_with("member.tar."));
    let socket = cold_copy::socket(&ctx.settings);
    let request = Request { night: ctx.night, cluster_id: member.cluster_id.clone() };
    let create = || partial.create(name).map_err(ColdCopyError::from);
    let asked = async {
        let need = etcd_room::member_bytes(local, member);
        etcd_room::demand(ctx, local, member, ctx.vault.root(), need)?;
        cold_copy::ask(&socket, &request, ctx.settings.etcd.compression, create).await
    };
    match asked.await {
        Ok(Asked::NotMyTurn { member: tonight }) => match ctx.settings.etcd.members {
            EtcdMembers::All => draft
                .notes
                .push(format!("the v2 keys of this cluster are in tonight's cold copy of {tonight}")),
            // Each member has its turn, and its host asks for it only with a set of its own.
            EtcdMembers::One => warn(ctx, member, draft, unasked(&tonight)),
        },
        Ok(Asked::Copied(copied)) => {
            let data_dir = local.data_dir.as_deref().unwrap_or(Path::new("the data directory"));
            let source = format!("{}/member, while its member was stopped", data_dir.display());
            let kind = ItemKind::File { size: copied.stored_size, sha256: copied.stored_sha256 };
            draft.items.push(item(name.to_owned(), source, kind));
            found.cold_copy = Some(ColdCopy {
                item: name.to_owned(),
                raw_size: copied.raw_size,
                raw_sha256: copied.raw_sha256,
                stopped_ms: copied.stopped_ms,
            });
        }
        Err(error) => {
            warn(ctx, member, draft, uncovered(&error));
            // What came is no copy: it was cut short, or its member was not seen healthy since.
            if let Err(error) = partial.discard(name) {
                draft.faults.push(chain(&error));
            }
        }
    }
}

fn warn(ctx: &StageContext, member: &Member, draft: &mut Draft, reason: String) {
    ctx.tell(Event {
        role: Some(Role::Etcd),
        reason: Some(reason.clone()),
        ..Event::warning(Kind::EtcdUnwell, format!("etcd member {}: {reason}", member.name))
    });
    draft.faults.push(reason);
}

/// With one set a night, the host whose turn the cold copy is may not make it.
fn unasked(tonight: &str) -> String {
    format!(
        "{MISSING}: tonight {tonight} is the member to be copied, whose host may hand in nothing while `members` in [etcd] is \
         \"one\"; set `members = \"all\"` on every etcd host"
    )
}

/// What is not covered, why, and what to do.
fn uncovered(error: &ColdCopyError) -> String {
    match error {
        ColdCopyError::Ask(AskError::NotEnabled { .. }) => format!(
            "{MISSING}; enable the cold copy, which stops one member a night, on every etcd host ({}), or set `data = \"v3\"` \
             in [etcd] if the v2 keys are the leavings of a migration",
            cold_copy::OPT_IN
        ),
        error => format!("{MISSING}: {}", chain(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_set_without_the_v2_keys_says_so_and_how_to_get_them() {
        let reason = uncovered(
            &AskError::NotEnabled { socket: "/run/nightshift-cold-copy/cold-copy.sock".into() }.into(),
        );
        for word in ["v2 keys", "systemctl enable --now nightshift-cold-copy.socket", "data = \"v3\""] {
            assert!(reason.contains(word), "{reason}");
        }
        let refused = uncovered(&AskError::Refused("the member etcd2 is not healthy".into()).into());
        assert!(
            refused.contains("v2 keys") && refused.ends_with("the member etcd2 is not healthy"),
            "{refused}"
        );
    }

    #[test]
    fn what_lies_in_a_folder_becomes_items_and_what_is_odd_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("member/wal")).unwrap();
        std::fs::write(folder.path().join("member/wal/0.wal"), "entries").unwrap();
        let found = items(folder.path(), "v2", "etcdctl").unwrap();
        assert_eq!(found.iter().map(|item| item.path.as_str()).collect::<Vec<_>>(), ["v2/member/wal/0.wal"]);
        std::os::unix::fs::symlink("/etc/shadow", folder.path().join("member/wal/1.wal")).unwrap();
        assert!(items(folder.path(), "v2", "etcdctl").unwrap_err().contains("1.wal"));
    }
}
