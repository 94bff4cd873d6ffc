#![allow(clippy::unwrap_used)]
use std::io::Write as _;

use nightshift_core::digest::Digest;
use nightshift_core::etcd_facts::{ColdCopy, DataFound, EtcdFacts, V2Backup};
use nightshift_core::fixtures;
use nightshift_core::manifest::{Item, ItemKind};
use tar::EntryType;

use super::*;

fn of_size(raw_size: u64) -> EtcdFacts {
    EtcdFacts { raw_size, ..fixtures::etcd_facts() }
}

#[test]
fn a_snapshot_that_unpacks_to_more_than_the_size_in_its_manifest_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot.db.zst");
    std::fs::write(&path, zstd::encode_all(&vec![0u8; 8 << 20][..], 1).unwrap()).unwrap();
    let findings =
        verify_snapshot(directory.path(), "snapshot.db.zst", Some(&of_size(1 << 20)), &|| false).join("; ");
    assert!(findings.contains("more than the 1048576 bytes in its manifest"), "{findings}");
    let findings =
        verify_snapshot(directory.path(), "snapshot.db.zst", Some(&of_size(8 << 20)), &|| false).join("; ");
    assert!(findings.contains("etcd database"), "{findings}");
}

#[test]
fn a_bomb_ends_at_its_first_defect_or_before_it_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot.db.zst");
    let frame = zstd::encode_all(&vec![0u8; 64 << 20][..], 1).unwrap();
    // 64 GiB of zeros in frames that follow each other.
    std::fs::write(&path, frame.repeat(1024)).unwrap();
    let began = std::time::Instant::now();
    let refused =
        verify_snapshot(directory.path(), "snapshot.db.zst", Some(&of_size(1 << 62)), &|| false).join("; ");
    assert!(refused.contains("cannot contain more than"), "{refused}");
    let plausible = 900 * std::fs::metadata(&path).unwrap().len();
    let refuted =
        verify_snapshot(directory.path(), "snapshot.db.zst", Some(&of_size(plausible)), &|| false).join("; ");
    assert!(refuted.contains("not an etcd database"), "{refuted}");
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_sound_set_of_a_newer_format_has_no_finding_and_is_unchecked() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    let set: SetId = "e1/2026-11-22/etcd".parse().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/tests/data/3.4-history.db.gz");
    let snapshot = std::fs::read(sample).unwrap();
    let (size, sha256) = (snapshot.len(), Digest::of(&snapshot));
    let files = vault.directory(&set);
    std::fs::create_dir_all(&files).unwrap();
    std::fs::write(files.join("snapshot.db.gz"), snapshot).unwrap();
    let item = format!(r#"{{"path": "snapshot.db.gz", "size": {size}, "sha256": "{sha256}"}}"#);
    let manifest = format!(r#"{{"format": 9, "items": [{item}]}}"#);
    std::fs::write(files.join(manifest::FILE), manifest).unwrap();
    let check = |_: &Manifest, _: &[u8], _: Option<&str>| unreachable!("its manifest cannot be read");
    let verified = verify_set(&"prod".parse().unwrap(), &vault, &set, &check, &mut Hashed::new()).unwrap();
    assert_eq!((verified.findings, verified.files), (Vec::new(), 1));
    assert!(matches!(verified.signed, Signed::Unchecked(reason) if reason.contains("newer format")));
}

#[test]
fn a_check_ends_when_its_stage_stops() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot.db.zst");
    std::fs::write(&path, zstd::encode_all(&[7u8; 4096][..], 1).unwrap()).unwrap();
    let findings =
        verify_snapshot(directory.path(), "snapshot.db.zst", Some(&of_size(4096)), &|| true).join("; ");
    assert!(findings.contains("stopped"), "{findings}");
}

const COLD_COPY: &str = "member.tar.gz";

/// A set of an etcd host that contains one file, and data of this kind.
fn set_with(directory: &Path, path: &str, content: &[u8], data: DataFound) -> Manifest {
    let file = directory.join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, content).unwrap();
    let set: SetId = "e1/2026-11-22/etcd".parse().unwrap();
    let facts = EtcdFacts { snapshot: None, data: Some(data), ..fixtures::etcd_facts() };
    let manifest = fixtures::etcd_manifest(&set, Grade::Good, facts);
    let kind = ItemKind::File { size: content.len() as u64, sha256: Digest::of(content) };
    let item = Item { path: path.into(), kind, ..manifest.items[0].clone() };
    Manifest { items: vec![item], ..manifest }
}

fn tar_of(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn cold_copy(raw_size: u64, raw_sha256: Digest) -> DataFound {
    let cold_copy = Some(ColdCopy { item: COLD_COPY.into(), raw_size, raw_sha256, stopped_ms: 1 });
    DataFound { v3: true, v2: true, cold_copy, v2_backup: None }
}

fn check(content: &[u8], data: DataFound) -> EtcdCheck {
    let directory = tempfile::tempdir().unwrap();
    let manifest = set_with(directory.path(), COLD_COPY, content, data);
    verify_etcd_data(directory.path(), &manifest, &|_| true, &|| false)
}

#[test]
fn a_cold_copy_is_unpacked_and_compared_with_what_its_manifest_states() {
    let member = [
        ("member", EntryType::Directory, &b""[..]),
        ("member/snap/db", EntryType::Regular, b"data"),
        ("member/wal/0.wal", EntryType::Regular, b"log"),
    ];
    let tar = tar_of(&member);
    let (size, sha256) = (tar.len() as u64, Digest::of(&tar));
    let sound = check(&gzip(&tar), cold_copy(size, sha256));
    assert_eq!(sound.findings, [""; 0]);
    assert!(
        sound.unchecked[0].contains("no snapshot"),
        "its other facts are compared with nothing: {sound:?}"
    );

    let empty = tar_of(&member[..1]);
    let foreign = tar_of(&[member[1], ("etc/shadow", EntryType::Regular, b"x")]);
    let link = tar_of(&[member[1], ("member/link", EntryType::Symlink, b"")]);
    let stated = |tar: &[u8]| cold_copy(tar.len() as u64, Digest::of(tar));
    for (content, data, finding) in [
        (vec![7], cold_copy(size, sha256), "cannot unpack the copy"),
        (gzip(&tar), cold_copy(size + 512, sha256), "its manifest says"),
        (gzip(&tar), cold_copy(size - 512, sha256), "more than the"),
        (gzip(&tar), cold_copy(size, Digest::of(b"")), "its SHA-256 is"),
        (gzip(&empty), stated(&empty), "no data of an etcd member"),
        (gzip(&foreign), stated(&foreign), "`etc/shadow`, which is not a member's data"),
        (gzip(&link), stated(&link), "`member/link`, which is not a member's data"),
        (gzip(&tar), cold_copy(1 << 62, sha256), "cannot contain more than"),
    ] {
        let findings = check(&content, data).findings.join("; ");
        assert!(
            findings.contains(finding) && findings.starts_with("member.tar.gz: "),
            "{finding}: {findings}"
        );
    }
}

#[test]
fn a_long_name_in_a_cold_copy_is_refused_before_it_is_read() {
    // GNU's long names are entries of their own, of any size.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(512 << 20);
    header.set_path("././@LongLink").unwrap();
    header.set_cksum();
    let mut tar = header.as_bytes().to_vec();
    tar.resize(tar.len() + (512 << 20), b'a');
    let findings = check(&gzip(&tar), cold_copy(tar.len() as u64, Digest::of(b""))).findings.join("; ");
    assert!(findings.contains("not a member's data"), "{findings}");
}

#[test]
fn a_v2_backup_is_unchecked_until_a_drill_replays_it() {
    let directory = tempfile::tempdir().unwrap();
    let v2_backup = Some(V2Backup { directory: "v2".into(), keys: Some(5) });
    let data = DataFound { v2: true, v2_backup, ..DataFound::default() };
    let manifest = set_with(directory.path(), "v2/member/wal/0.wal", b"x", data);
    let check = verify_etcd_data(directory.path(), &manifest, &|_| true, &|| false);
    assert_eq!(check.findings, [""; 0]);
    assert!(check.unchecked.iter().any(|reason| reason.contains("a drill, which replays it")), "{check:?}");
}

#[test]
fn a_pipe_and_a_link_in_place_of_a_file_are_findings_and_nothing_is_read_through_them() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path().join("vault"));
    let set: SetId = "n1/2026-11-22/node".parse().unwrap();
    let secret = directory.path().join("shadow");
    std::fs::write(&secret, b"root:secret").unwrap();
    let partial = vault.begin(&set).unwrap();
    let written = partial.write("etc/origin/a", b"root:secret").unwrap();
    let mut items = Vec::new();
    for path in ["etc/origin/a", "b", "c"] {
        if path != "etc/origin/a" {
            partial.write(path, b"root:secret").unwrap();
        }
        let kind = ItemKind::File { size: written.size, sha256: written.sha256 };
        let sample = fixtures::etcd_manifest(&set, Grade::Good, fixtures::etcd_facts()).items.remove(0);
        items.push(Item { path: path.into(), kind, ..sample });
    }
    let manifest = fixtures::manifest(&set, Grade::Good, items);
    partial.publish(&manifest.encode().unwrap(), None).unwrap();
    let files = vault.directory(&set);
    std::fs::remove_dir_all(files.join("etc/origin")).unwrap();
    std::os::unix::fs::symlink(directory.path(), files.join("etc/origin")).unwrap();
    std::fs::write(directory.path().join("a"), b"root:secret").unwrap();
    std::fs::remove_file(files.join("b")).unwrap();
    std::os::unix::fs::symlink(&secret, files.join("b")).unwrap();
    std::fs::remove_file(files.join("c")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        files.join("c"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o640),
        0,
    )
    .unwrap();
    let signed = |_: &Manifest, _: &[u8], _: Option<&str>| Signed::Unsigned;
    let verified = verify_set(&"prod".parse().unwrap(), &vault, &set, &signed, &mut Hashed::new()).unwrap();
    let findings = verified.findings.join("; ");
    assert_eq!((verified.findings.len(), verified.damage.len()), (3, 3), "{findings}");
    assert!(
        findings.contains("symbolic link") && findings.contains("c: it is not a regular file"),
        "{findings}"
    );
}

#[test]
fn a_finding_with_the_path_of_a_file_is_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    let set: SetId = "n1/2026-11-22/node".parse().unwrap();
    std::fs::create_dir_all(vault.directory(&set)).unwrap();
    let path = "a\nn2/2026-11-22/node: good\u{1b}[2J";
    let item = serde_json::json!({"path": path, "size": 1, "sha256": Digest::of(b"x")});
    let manifest = serde_json::json!({"format": 9, "items": [item]}).to_string();
    std::fs::write(vault.directory(&set).join(manifest::FILE), manifest).unwrap();
    let check = |_: &Manifest, _: &[u8], _: Option<&str>| unreachable!("its manifest cannot be read");
    let verified = verify_set(&"prod".parse().unwrap(), &vault, &set, &check, &mut Hashed::new()).unwrap();
    assert!(verified.findings[0].starts_with("a n2/2026-11-22/node: good\u{fffd}[2J: No such file"));
}
