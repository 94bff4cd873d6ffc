//! Room for what is written of etcd's data. Beside etcd's own data it is left more, for it stops at a full disk.

use std::path::Path;

use crate::context::StageContext;
use nightshift_etcd::{LocalMember, Member};
use nightshift_store::space::{self, SpaceError};

/// Makes sure that `need` bytes fit at `target`, even if nothing of them can be compressed.
pub fn demand(
    ctx: &StageContext,
    local: &LocalMember,
    member: &Member,
    target: &Path,
    need: u64,
) -> Result<(), SpaceError> {
    let beside = space::beside_etcd(local.data_dir.as_deref(), target, member.db_size)?;
    space::demand(target, need, 1, ctx.settings.vault.min_free.max(beside))
}

/// The bytes of the regular files below a folder, through no link. What cannot be read counts for nothing.
pub fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.metadata().ok()?, entry.path())))
        .map(|(metadata, path)| if metadata.is_dir() { bytes_below(&path) } else { metadata.len() })
        .sum()
}

/// The size of a member's whole data.
pub fn member_bytes(local: &LocalMember, member: &Member) -> u64 {
    let seen = local.data_dir.as_ref().map_or(0, |data_dir| bytes_below(&data_dir.join("member")));
    seen.max(member.db_size)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::role::Role;
    use nightshift_core::stage::Stage;

    use super::*;
    use crate::testing;
    use nightshift_etcd::TlsFiles;

    fn member(db_size: u64) -> Member {
        Member {
            cluster_id: "1".into(),
            member_id: "2".into(),
            name: "e1".into(),
            version: "3.4.23".into(),
            revision: 1,
            raft_term: 1,
            leader: false,
            learner: false,
            alarms: Vec::new(),
            db_size,
            complaints: Vec::new(),
        }
    }

    fn local(data_dir: &Path) -> LocalMember {
        LocalMember {
            endpoint: "http://127.0.0.1:2379".into(),
            tls: TlsFiles::default(),
            name: None,
            data_dir: Some(data_dir.to_owned()),
            files: Vec::new(),
        }
    }

    #[test]
    fn twice_the_database_is_left_where_etcd_keeps_its_data_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let settings = testing::settings(folder.path(), vec![testing::host("e1", Role::Etcd)]);
        let ctx = testing::context(settings, "2026-11-22", Stage::SnapshotEtcd);
        let ask = |data_dir: &Path, db_size: u64| {
            demand(&ctx, &local(data_dir), &member(db_size), folder.path(), 1)
        };
        let large = space::room(folder.path()).unwrap().free;
        let refused = ask(folder.path(), large).unwrap_err();
        assert!(matches!(refused, SpaceError::Bytes { leave, .. } if leave == large * 2), "{refused}");
        ask(Path::new("/proc"), large).unwrap();
    }

    #[test]
    fn a_member_is_as_large_as_its_files_and_at_least_its_database() {
        let folder = tempfile::tempdir().unwrap();
        for (path, bytes) in [("member/wal/0.wal", 3000), ("member/snap/db", 500)] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![0; bytes]).unwrap();
        }
        let local = local(folder.path());
        assert_eq!(member_bytes(&local, &member(500)), 3500);
        assert_eq!(member_bytes(&local, &member(9000)), 9000);
    }
}
