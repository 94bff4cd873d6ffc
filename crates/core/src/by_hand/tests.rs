#![allow(clippy::unwrap_used)]
use jiff::Timestamp;

use super::*;
use crate::archive::ArchiveName;
use crate::etcd_facts::{self, EtcdFacts, EtcdService, RunsAs};
use crate::fixtures;
use crate::manifest::{Item, Manifest, SNAPSHOTS};
use crate::outcome::Grade;
use crate::system::ControlPlane;

const DOCS: &str = include_str!("../../../../docs/operations.md");

fn settings() -> Settings {
    let hosts = vec![
        fixtures::host("m1", Role::Master),
        fixtures::host("e1", Role::Etcd),
        fixtures::host("e2", Role::Etcd),
        fixtures::host("n1", Role::Node),
    ];
    fixtures::settings("/x".as_ref(), hosts, Timestamp::UNIX_EPOCH)
}

/// The manifest of a member of two, which are both listed under these names.
fn manifest(names: [&str; 2]) -> Manifest {
    let listed = |(id, name): (&str, &str)| etcd_facts::Member {
        id: id.into(),
        name: name.into(),
        peer_urls: [format!("https://10.0.3.{id}:2380")].into_iter().collect(),
        client_urls: ["https://127.0.0.1:2379".to_owned(), format!("https://10.0.3.{id}:2379")]
            .into_iter()
            .collect(),
        learner: false,
    };
    let service =
        EtcdService { runs: Some(RunsAs::StaticPod("/etc/pods/etcd.yaml".into())), data: None, wal: None };
    let facts = EtcdFacts {
        member_id: "1".into(),
        members: [("1", names[0]), ("2", names[1])].map(listed).into(),
        service: Some(service),
        ..fixtures::etcd_facts()
    };
    let set = "e1/2026-11-22/etcd".parse().unwrap();
    fixtures::etcd_manifest(&set, Grade::Good, facts)
}

fn members(manifest: &Manifest) -> Vec<Member> {
    let set = EtcdSet { manifest, directory: "e1/etcd".into() };
    Member::all(&settings(), &[set], |_, _| None)
}

fn text(settings: &Settings, members: Vec<Member>, archive: Option<Packed<'_>>) -> String {
    ByHand { settings, archive, control_plane: Some(ControlPlane::StaticPods), members, has_v2: false }
        .to_string()
}

#[test]
fn the_documentation_has_the_same_program_and_the_same_options() {
    assert!(DOCS.contains(PUT_FILES), "docs/operations.md has another program for the files");
    let settings = settings();
    let text = text(&settings, members(&manifest(["e1", "e2"])), None);
    for option in [
        "--initial-cluster-token",
        "--bump-revision 1000000000 --mark-compacted",
        "--acls --xattrs --xattrs-include='*'",
        "-n nightshift-archive",
        "member.before-restore",
        "systemctl start --no-block etcd",
        "alarm disarm",
    ] {
        assert!(DOCS.contains(option), "docs/operations.md lacks {option}");
        assert!(text.contains(option) || option.starts_with("systemctl"), "RESTORE.txt lacks {option}");
    }
}

#[test]
fn every_member_gets_the_same_snapshot_with_its_own_name_and_urls() {
    let settings = settings();
    let text = text(&settings, members(&manifest(["e1", "other"])), None);
    assert!(text.contains("CLUSTER=e1=https://10.0.3.1:2380,other=https://10.0.3.2:2380\n"), "{text}");
    for (host, name, id) in [("e1", "e1", 1), ("10.0.3.2", "other", 2)] {
        let restore = format!(
            "etcdutl snapshot restore snapshot.db --data-dir data-{host} --name {name} --initial-advertise-peer-urls https://10.0.3.{id}:2380 "
        );
        assert!(text.contains(&restore), "{text}");
        assert!(
            text.contains(&format!("--endpoints https://10.0.3.{id}:2379 put nightshift-canary-{name} 1")),
            "{text}"
        );
    }
    // A pod's manifest is moved out of the directory that the kubelet watches, and back.
    assert!(text.contains("mv /etc/pods/etcd.yaml /etc/pods-stopped.etcd.yaml"), "{text}");
    assert!(text.contains("mv /etc/pods-stopped.etcd.yaml /etc/pods/etcd.yaml"), "{text}");
}

#[test]
fn a_name_that_sh_would_run_is_in_no_command() {
    let settings = settings();
    let text = text(&settings, members(&manifest(["e1;reboot", "e2"])), None);
    assert!(!text.contains("reboot"), "{text}");
    assert!(text.contains("No manifest lists the members of etcd"), "{text}");
}

#[test]
fn the_text_of_an_archive_names_its_snapshot_and_the_links_that_tar_does_not_create() {
    let settings = settings();
    let name: ArchiveName = "m1_2026.11.22.2.tgz.age".parse().unwrap();
    let manifest = manifest(["e1", "e2"]);
    let link = Item {
        source: "/etc/a\u{1b}[2J".into(),
        kind: ItemKind::Symlink { target: "b/c".into() },
        ..manifest.items[0].clone()
    };
    let packed = Packed {
        name: &name,
        snapshot: Some(("e1/2026-11-22/etcd.2".parse().unwrap(), SNAPSHOTS[1].to_owned())),
        left_out: vec![("n1".parse().unwrap(), &link)],
    };
    let text = text(&settings, members(&manifest), Some(packed));
    assert!(text.contains("cd \"m1_2026.11.22.2\"\n"), "{text}");
    assert!(text.contains("SET=e1/etcd.2\nzstd -dc \"$SET/snapshot.db.zst\" > snapshot.db\n"), "{text}");
    assert!(text.contains("  n1: /etc/a\u{fffd}[2J -> b/c\n"), "{text}");
}
