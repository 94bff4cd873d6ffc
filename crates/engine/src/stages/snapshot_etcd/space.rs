//! Space for what is written of etcd's data. On the file system of etcd's own data more space is left, because etcd stops when
//! that is full.

use std::path::Path;

use nightshift_core::role::Role;
use nightshift_etcd::discover::LocalMember;
use nightshift_etcd::health::Member;
use nightshift_store::space::{self, SpaceError};
use nightshift_store::{Partial, StoreError, tree};

use crate::context::StageContext;
use crate::stages::free_space;

/// The bytes to leave free at `target`.
pub fn leave(
    ctx: &StageContext,
    local: &LocalMember,
    member: &Member,
    target: &Path,
) -> Result<u64, StoreError> {
    let beside = space::beside_etcd(local.data_dir.as_deref(), target, member.db_size)?;
    Ok(ctx.settings.vault.min_free.max(beside))
}

/// Reserves `need` bytes for a set, in case that they do not compress, but at most what a set may have.
pub fn reserve(ctx: &StageContext, partial: &Partial, need: u64) -> Result<(), SpaceError> {
    let need = need.min(ctx.settings.vault.max_set_size(Role::Etcd));
    free_space::ensure(ctx, || partial.budget().reserve(need, 1))
}

/// Checks that `need` bytes fit at `target`, which is not in the vault.
pub fn require(
    ctx: &StageContext,
    local: &LocalMember,
    member: &Member,
    target: &Path,
    need: u64,
) -> Result<(), SpaceError> {
    let leave = leave(ctx, local, member, target)?;
    free_space::ensure(ctx, || space::require(target, need, 1, leave))
}

/// The size of a member's whole data.
pub fn member_bytes(local: &LocalMember, member: &Member) -> u64 {
    let size = local.data_dir.as_ref().map_or(0, |data_dir| tree::size(&data_dir.join("member")));
    size.max(member.db_size)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::etcd_facts::MemberId;
    use nightshift_core::stage::Stage;

    use super::*;
    use crate::testing;

    fn member(db_size: u64) -> Member {
        Member {
            cluster_id: "1".into(),
            id: MemberId(2),
            name: "e1".into(),
            version: "3.4.23".into(),
            revision: 1,
            raft_term: 1,
            leader: false,
            learner: false,
            alarms: Vec::new(),
            db_size,
            problems: Vec::new(),
        }
    }

    fn local(data_dir: &Path) -> LocalMember {
        LocalMember {
            endpoint: "http://127.0.0.1:2379".into(),
            data_dir: Some(data_dir.to_owned()),
            ..LocalMember::default()
        }
    }

    #[test]
    fn twice_the_database_stays_free_on_the_file_system_of_etcds_data_and_on_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let settings = testing::settings(dir.path(), vec![testing::host("e1", Role::Etcd)]);
        let ctx = testing::context(settings, "2026-11-22", Stage::SnapshotEtcd);
        let demanded =
            |data_dir: &Path, db_size: u64| require(&ctx, &local(data_dir), &member(db_size), dir.path(), 1);
        let large = space::room(dir.path()).unwrap().free;
        let refused = demanded(dir.path(), large).unwrap_err();
        assert!(matches!(refused, SpaceError::Bytes { leave, .. } if leave == large * 2), "{refused}");
        demanded(Path::new("/proc"), large).unwrap();
    }

    #[test]
    fn a_member_is_as_large_as_its_files_and_at_least_its_database() {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in [("member/wal/0.wal", 3000), ("member/snap/db", 500)] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![0; bytes]).unwrap();
        }
        let local = local(dir.path());
        assert_eq!(member_bytes(&local, &member(500)), 3500);
        assert_eq!(member_bytes(&local, &member(9000)), 9000);
    }
}
