//! How the member runs on this host, and where its data is: what a restore has to stop and to replace. Nothing of it is needed for
//! the copy, so what cannot be found is a note.

use std::path::Path;

use nightshift_core::chain;
use nightshift_core::etcd_facts::{DataDirectory, EtcdService, RunsAs};
use nightshift_etcd::discover::LocalMember;
use nightshift_etcd::service::{self, Service};
use nightshift_store::access::{label, owner};
use nightshift_store::offload;
use nightshift_store::safe_open::{Missing, open_directory};
use rustix::fs::fstat;

use crate::stages::own_set::Draft;

/// Adds it to the draft's facts about the member.
pub async fn add(local: &LocalMember, draft: &mut Draft) {
    let runs = service::find().await.map(runs_as);
    let runs = runs.map_err(|error| draft.notes.push(chain(&error))).ok();
    let (data_dir, wal_dir) = (local.data_dir.clone(), local.wal_dir.clone());
    let (data, wal) = offload::run(move || (found(data_dir.as_deref()), found(wal_dir.as_deref()))).await;
    let mut noted = |found: Option<Result<DataDirectory, String>>| {
        found.and_then(|found| found.map_err(|reason| draft.notes.push(reason)).ok())
    };
    let (data, wal) = (noted(data), noted(wal));
    if local.data_dir.is_none() {
        draft
            .notes
            .push("the member's data directory is unknown: its configuration does not name it".to_owned());
    }
    if let Some(facts) = &mut draft.etcd {
        facts.service = Some(EtcdService { runs, data, wal });
    }
}

fn runs_as(service: Service) -> RunsAs {
    match service {
        Service::Unit { name } => RunsAs::Unit(name.into()),
        Service::StaticPod { manifest, .. } => RunsAs::StaticPod(manifest.to_string_lossy().as_ref().into()),
    }
}

fn found(path: Option<&Path>) -> Option<Result<DataDirectory, String>> {
    let path = path?;
    Some(
        describe(path)
            .map_err(|missing| format!("the member's data directory {}: {missing}", path.display())),
    )
}

fn describe(path: &Path) -> Result<DataDirectory, Missing> {
    let directory = open_directory(path)?;
    let stat = fstat(&directory).map_err(|errno| Missing::of(errno, path))?;
    Ok(DataDirectory {
        path: path.to_string_lossy().as_ref().into(),
        owner: owner(stat.st_uid, stat.st_gid),
        mode: stat.st_mode & 0o7777,
        selinux: label(&directory).map(Into::into),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[tokio::test]
    async fn a_data_directory_is_described_and_what_is_not_found_is_noted() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let (data, link) = (root.join("etcd"), root.join("link"));
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        symlink(&data, &link).unwrap();
        let local = LocalMember {
            data_dir: Some(data.clone()),
            wal_dir: Some(link.join("wal")),
            ..LocalMember::default()
        };
        let facts = nightshift_core::fixtures::etcd_facts();
        let mut draft = Draft { etcd: Some(facts), ..Draft::default() };
        add(&local, &mut draft).await;
        let service = draft.etcd.unwrap().service.unwrap();
        let found = service.data.unwrap();
        assert_eq!((found.path.as_str(), found.mode), (data.to_str().unwrap(), 0o700));
        assert_eq!(found.owner.uid, fs::metadata(&data).unwrap().uid());
        assert!(service.wal.is_none());
        let noted = |what: &str| draft.notes.iter().any(|note| note.contains(what));
        assert!(noted("link is a symlink; use the path of its target"), "{:?}", draft.notes);
        assert_eq!(
            service.runs.is_none(),
            noted("cannot tell how etcd runs on this host"),
            "{:?}",
            draft.notes
        );
    }
}
