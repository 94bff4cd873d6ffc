#![allow(clippy::unwrap_used)]
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use jiff::Timestamp;
use nightshift_core::digest::{Digest, Written};
use nightshift_core::manifest::{self, Item, ItemKind, Owner};
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::proof::{Proof, Statement};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;

use super::*;
use nightshift_core::fixtures as testing;

struct Room {
    _dir: tempfile::TempDir,
    vault: Vault,
}

fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("vault");
    fs::create_dir(&root).unwrap();
    Room { _dir: dir, vault: Vault::new(root) }
}

fn host() -> HostName {
    "n1".parse().unwrap()
}

fn night(text: &str) -> Night {
    text.parse().unwrap()
}

fn id(night_of: &str) -> SetId {
    SetId::first(host(), night(night_of), Role::Node)
}

fn item(path: &str, bytes: &[u8]) -> Item {
    Item {
        path: path.into(),
        source: format!("/{path}"),
        kind: ItemKind::File { size: bytes.len() as u64, sha256: Digest::of(bytes) },
        owner: Owner { uid: 0, gid: 0, user: None, group: None },
        mode: 0o600,
        modified: Timestamp::UNIX_EPOCH,
        selinux: None,
        changed: false,
    }
}

fn manifest_of(set: &SetId, grade: Grade, files: &[(&str, &[u8])]) -> Vec<u8> {
    let manifest =
        testing::manifest(set, grade, files.iter().map(|(path, bytes)| item(path, bytes)).collect());
    manifest.encode().unwrap()
}

fn publish(vault: &Vault, set: &SetId, grade: Grade, files: &[(&str, &[u8])]) {
    let partial = vault.begin(set).unwrap();
    for (path, bytes) in files {
        partial.write(path, bytes).unwrap();
    }
    partial.publish(&manifest_of(set, grade, files), Some("signed")).unwrap();
}

fn inode(path: PathBuf) -> u64 {
    fs::metadata(path).unwrap().ino()
}

const FILES: [(&str, &[u8]); 2] =
    [("etc/origin/node/node-config.yaml", b"kind: Node"), ("root_cron", b"# none")];

#[test]
fn a_set_is_published_whole_under_its_name() {
    let room = room();
    let set = id("2026-11-22");
    publish(&room.vault, &set, Grade::Good, &FILES);
    assert!(room.vault.holds(&set));
    assert_eq!(room.vault.sets().unwrap(), std::slice::from_ref(&set));
    let folder = room.vault.folder(&set);
    assert_eq!(fs::read(folder.join(FILES[0].0)).unwrap(), FILES[0].1);
    assert_eq!(fs::read(folder.join(manifest::SIGNATURE_FILE)).unwrap(), b"signed");
    assert!(!room.vault.root().join(set.partial()).exists());
}

#[test]
fn a_published_set_is_never_begun_or_replaced() {
    let room = room();
    let set = id("2026-11-22");
    publish(&room.vault, &set, Grade::Good, &FILES);
    assert!(matches!(room.vault.begin(&set), Err(StoreError::Published(_))));
    assert!(matches!(room.vault.resume(&set), Err(StoreError::Published(_))));
}

#[test]
fn two_writers_of_one_set_do_not_meet_in_its_folder() {
    let room = room();
    let set = id("2026-11-22");
    let first = room.vault.resume(&set).unwrap();
    assert!(room.vault.resume(&set).is_err(), "another pull of the same set is told to wait");
    assert!(room.vault.begin(&set).is_err());
    first.write("a", b"kept").unwrap();
    drop(first);
    assert!(room.vault.resume(&set).unwrap().left_over("a").is_some());
}

#[test]
fn a_sweep_leaves_what_is_being_written_whatever_night_it_is_of() {
    let room = room();
    let writing = room.vault.begin(&id("2026-11-22")).unwrap();
    writing.write("a", b"half").unwrap();
    let left = room.vault.begin(&id("2026-11-20")).unwrap();
    let left_at = left.folder().to_owned();
    drop(left);
    let swept = room.vault.sweep(Some(night("2026-11-23"))).unwrap();
    assert_eq!(swept, [left_at]);
    assert!(writing.folder().join("a").exists());
}

#[test]
fn a_sweep_removes_a_removal_that_was_cut_short_and_spares_the_open_night() {
    let room = room();
    publish(&room.vault, &id("2026-11-20"), Grade::Good, &FILES);
    publish(&room.vault, &id("2026-11-21"), Grade::Good, &FILES);
    fs::remove_file(room.vault.folder(&id("2026-11-20")).join(manifest::FILE)).unwrap();
    let open = room.vault.begin(&id("2026-11-22")).unwrap().folder().to_owned();
    room.vault.sweep(Some(night("2026-11-22"))).unwrap();
    assert!(!room.vault.folder(&id("2026-11-20")).parent().unwrap().exists(), "its night goes with it");
    assert!(room.vault.holds(&id("2026-11-21")));
    assert!(open.exists(), "tonight's partial is resumed");
}

#[test]
fn a_sweep_passes_by_what_is_not_ours() {
    let room = room();
    fs::create_dir_all(room.vault.root().join("lost+found/2026-11-20/node")).unwrap();
    fs::create_dir_all(room.vault.root().join("n1/notes")).unwrap();
    assert!(room.vault.sweep(None).unwrap().is_empty());
    assert!(room.vault.root().join("lost+found/2026-11-20/node").exists());
}

#[test]
fn a_sweep_removes_what_a_crash_left_of_a_hint() {
    let room = room();
    fs::create_dir(room.vault.host_folder(&host())).unwrap();
    let torn = room.vault.host_folder(&host()).join(".x1y2z3.part");
    let hour = std::time::SystemTime::now() - std::time::Duration::from_secs(3700);
    File::create(&torn).unwrap().set_modified(hour).unwrap();
    let fresh = room.vault.host_folder(&host()).join(".a1b2c3.part");
    fs::write(&fresh, b"{").unwrap();
    room.vault.sweep(None).unwrap();
    assert!(!torn.exists() && fresh.exists(), "one that is being written stays");
}

#[test]
fn an_unchanged_file_is_one_inode_and_a_changed_one_is_not() {
    let room = room();
    let (earlier, set) = (id("2026-11-21"), id("2026-11-22"));
    publish(&room.vault, &earlier, Grade::Good, &FILES);
    let partial = room.vault.begin(&set).unwrap();
    let wanted = Written { size: 10, sha256: Digest::of(b"kind: Node") };
    assert!(partial.link(&earlier, FILES[0].0, FILES[0].0, wanted).unwrap());
    let other = Written { size: 10, sha256: Digest::of(b"kind: Nude") };
    assert!(!partial.link(&earlier, FILES[0].0, "other", other).unwrap());
    partial.write("root_cron", b"# none").unwrap();
    partial.publish(&manifest_of(&set, Grade::Good, &FILES), None).unwrap();
    let of = |set: &SetId, path: &str| inode(room.vault.folder(set).join(path));
    assert_eq!(of(&set, FILES[0].0), of(&earlier, FILES[0].0));
    assert_ne!(of(&set, FILES[1].0), of(&earlier, FILES[1].0));
}

#[test]
fn linking_what_is_linked_already_leaves_nothing_behind() {
    let room = room();
    let (earlier, set) = (id("2026-11-21"), id("2026-11-22"));
    publish(&room.vault, &earlier, Grade::Good, &FILES);
    let partial = room.vault.begin(&set).unwrap();
    let wanted = Written { size: 10, sha256: Digest::of(b"kind: Node") };
    for _ in 0..2 {
        assert!(partial.link(&earlier, FILES[0].0, FILES[0].0, wanted).unwrap());
    }
    let beside: Vec<_> = fs::read_dir(partial.folder().parent().unwrap()).unwrap().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
}

#[test]
fn a_copy_that_went_bad_is_never_linked_again() {
    let room = room();
    let (earlier, set) = (id("2026-11-21"), id("2026-11-22"));
    publish(&room.vault, &earlier, Grade::Good, &FILES);
    fs::write(room.vault.folder(&earlier).join(FILES[0].0), b"kind: Rust").unwrap();
    let partial = room.vault.begin(&set).unwrap();
    let wanted = Written { size: 10, sha256: Digest::of(b"kind: Node") };
    assert!(!partial.link(&earlier, FILES[0].0, FILES[0].0, wanted).unwrap());
}

#[test]
fn a_link_to_a_published_file_is_never_written_on() {
    let room = room();
    let (earlier, set) = (id("2026-11-21"), id("2026-11-22"));
    publish(&room.vault, &earlier, Grade::Good, &FILES);
    let partial = room.vault.begin(&set).unwrap();
    let wanted = Written { size: 10, sha256: Digest::of(b"kind: Node") };
    partial.link(&earlier, FILES[0].0, FILES[0].0, wanted).unwrap();
    assert!(partial.reopen(FILES[0].0).unwrap().is_none());
    assert!(!partial.folder().join(FILES[0].0).exists());
    assert_eq!(fs::read(room.vault.folder(&earlier).join(FILES[0].0)).unwrap(), b"kind: Node");
}

#[test]
fn a_transfer_that_broke_off_is_written_on_from_what_is_there() {
    let room = room();
    let partial = room.vault.begin(&id("2026-11-22")).unwrap();
    partial.write("big", b"first half ").unwrap();
    let mut file = partial.reopen("big").unwrap().unwrap();
    assert_eq!(file.size(), 11);
    std::io::Write::write_all(&mut file, b"second half").unwrap();
    assert_eq!(file.finish().1.sha256, Digest::of(b"first half second half"));
    assert_eq!(partial.left_over("big").unwrap().sha256, Digest::of(b"first half second half"));
    assert!(partial.reopen("absent").unwrap().is_none());
}

#[test]
fn what_an_earlier_manifest_left_is_not_published() {
    let room = room();
    let set = id("2026-11-22");
    let partial = room.vault.begin(&set).unwrap();
    partial.write("stray/file", b"of another manifest").unwrap();
    for (path, bytes) in FILES {
        partial.write(path, bytes).unwrap();
    }
    partial.publish(&manifest_of(&set, Grade::Good, &FILES), None).unwrap();
    assert!(!room.vault.folder(&set).join("stray/file").exists());
}

#[test]
fn a_set_that_lacks_a_file_of_its_manifest_is_not_published() {
    let room = room();
    let set = id("2026-11-22");
    let partial = room.vault.begin(&set).unwrap();
    partial.write(FILES[0].0, FILES[0].1).unwrap();
    let error = partial.publish(&manifest_of(&set, Grade::Good, &FILES), None).unwrap_err();
    assert!(error.to_string().contains("root_cron"), "{error}");
    assert!(!room.vault.holds(&set));
}

#[test]
fn a_removal_cut_short_is_in_nobodys_way() {
    let room = room();
    let set = id("2026-11-22");
    fs::create_dir_all(room.vault.folder(&set).join("etc")).unwrap();
    fs::write(room.vault.folder(&set).join("etc/left"), b"x").unwrap();
    assert!(!room.vault.holds(&set));
    publish(&room.vault, &set, Grade::Good, &FILES);
    assert!(!room.vault.folder(&set).join("etc/left").exists());
}

#[test]
fn removing_a_set_takes_its_proofs_and_its_empty_night() {
    let room = room();
    let set = id("2026-11-22");
    publish(&room.vault, &set, Grade::Good, &FILES);
    let proofs = room.vault.folder(&set).with_file_name("node.proofs");
    fs::create_dir(&proofs).unwrap();
    fs::write(proofs.join("m1.json"), b"{}").unwrap();
    let (folder, before) = (inode(room.vault.folder(&set)), sync::synced().len());
    room.vault.remove(&set).unwrap();
    assert!(sync::synced()[before..].contains(&folder), "the manifest is gone for good before the rest goes");
    assert!(!room.vault.folder(&set).parent().unwrap().exists());
    assert!(room.vault.host_folder(&host()).exists(), "the host's folder stays, for its now.json");
}

#[test]
fn a_reader_takes_the_best_grade_then_the_highest_attempt() {
    let room = room();
    let first = id("2026-11-22");
    for (attempt, grade) in [(1, Grade::Degraded), (2, Grade::Good), (3, Grade::Good), (4, Grade::Bad)] {
        publish(&room.vault, &SetId { attempt, ..first.clone() }, grade, &FILES);
    }
    let best = room.vault.best(&host(), first.night, Role::Node).unwrap().unwrap();
    assert_eq!((best.manifest.attempt, best.grade), (3, Grade::Good));
    assert_eq!(room.vault.next_attempt(&host(), first.night, Role::Node).unwrap(), 5);
}

#[test]
fn a_set_that_cannot_be_read_does_not_hide_the_others() {
    let room = room();
    let first = id("2026-11-22");
    publish(&room.vault, &first, Grade::Good, &FILES);
    let second = SetId { attempt: 2, ..first.clone() };
    publish(&room.vault, &second, Grade::Good, &FILES);
    fs::write(room.vault.folder(&second).join(manifest::FILE), b"\0\0\0").unwrap();
    let best = room.vault.best(&host(), first.night, Role::Node).unwrap().unwrap();
    assert_eq!(best.manifest.attempt, 1);
}

#[test]
fn the_previous_copy_is_the_newest_earlier_one_that_is_a_copy() {
    let room = room();
    publish(&room.vault, &id("2026-11-19"), Grade::Good, &FILES);
    publish(&room.vault, &id("2026-11-20"), Grade::Degraded, &FILES);
    publish(&room.vault, &id("2026-11-21"), Grade::Bad, &FILES);
    publish(&room.vault, &id("2026-11-22"), Grade::Good, &FILES);
    let previous = room.vault.previous(&host(), night("2026-11-22"), Role::Node).unwrap().unwrap();
    assert_eq!(previous.night, night("2026-11-20"));
}

#[test]
fn everything_published_was_synced_first_and_its_folders_after() {
    let room = room();
    let set = id("2026-11-22");
    let root = room.vault.root().to_owned();
    publish(&room.vault, &set, Grade::Good, &FILES);
    let synced = sync::synced();
    let folder = room.vault.folder(&set);
    let mut must: Vec<PathBuf> =
        [FILES[0].0, FILES[1].0, manifest::FILE, manifest::SIGNATURE_FILE, "etc", ""]
            .iter()
            .map(|path| folder.join(path))
            .collect();
    must.extend([folder.parent().unwrap().to_owned(), room.vault.host_folder(&host()), root]);
    for path in must {
        assert!(synced.contains(&inode(path.clone())), "{} was not synced", path.display());
    }
    let at = |path: PathBuf| synced.iter().rposition(|synced| *synced == inode(path.clone())).unwrap();
    assert!(at(folder.join(FILES[0].0)) < at(folder.join(manifest::FILE)), "the manifest comes last");
    assert!(at(folder.join(manifest::FILE)) < at(folder.parent().unwrap().to_owned()));
}

#[test]
fn what_a_killed_writer_left_unsynced_is_synced_before_it_counts() {
    let room = room();
    let partial = room.vault.begin(&id("2026-11-22")).unwrap();
    // A writer that was killed between its last write and its sync: whole to every reader, not on disk.
    std::io::Write::write_all(&mut partial.create("big").unwrap(), b"whole").unwrap();
    let path = partial.folder().join("big");
    assert!(!sync::synced().contains(&inode(path.clone())));
    assert_eq!(partial.left_over("big").unwrap().size, 5);
    assert!(sync::synced().contains(&inode(path)));
}

#[test]
fn nobody_else_can_read_what_is_in_a_vault() {
    let room = room();
    let set = id("2026-11-22");
    publish(&room.vault, &set, Grade::Good, &FILES);
    let mut folders = vec![room.vault.host_folder(&host())];
    while let Some(folder) = folders.pop() {
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o027, 0, "{}", folder.display());
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o027, 0, "{} has {mode:o}", entry.path().display());
            if entry.metadata().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
}

#[test]
fn a_path_out_of_the_set_is_never_written() {
    let room = room();
    let partial = room.vault.begin(&id("2026-11-22")).unwrap();
    for bad in ["../out", "/etc/passwd", "a/../../out", ""] {
        assert!(partial.write(bad, b"x").is_err(), "{bad}");
    }
}

#[test]
fn a_small_file_is_replaced_whole_and_synced() {
    let room = room();
    let path = room.vault.root().join("now.json");
    replace_file(&path, b"old").unwrap();
    replace_file(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert!(sync::synced().contains(&inode(path.clone())));
    assert_eq!(fs::read_dir(room.vault.root()).unwrap().count(), 1);
    assert!(matches!(read_bounded(&path, 2), Err(StoreError::TooBig { .. })));
    drop(File::open(&path).unwrap());
}

fn accepted(vault: &Vault, set: &SetId, at: &str) -> Proof {
    Proof {
        format: 1,
        cluster: "prod".parse().unwrap(),
        set: set.clone(),
        manifest: vault.manifest_digest(set).unwrap(),
        by: "m1".parse().unwrap(),
        at: at.parse().unwrap(),
        with: "0".into(),
        statement: Statement::Accepted { who: "root".into() },
    }
}

#[test]
fn an_acceptance_raises_what_is_suspicious_and_never_what_is_bad() {
    let room = room();
    for (night, grade, worth) in [
        ("2026-11-20", Grade::Suspicious, Grade::Good),
        ("2026-11-21", Grade::Diverged, Grade::Good),
        ("2026-11-22", Grade::Bad, Grade::Bad),
        ("2026-11-23", Grade::Degraded, Grade::Degraded),
    ] {
        let set = id(night);
        publish(&room.vault, &set, grade, &FILES);
        assert_eq!(room.vault.judge(&set).unwrap().grade, grade);
        let proof = accepted(&room.vault, &set, "2026-11-24T08:00:00Z");
        room.vault.put_proof(&proof).unwrap();
        assert_eq!(room.vault.judge(&set).unwrap().grade, worth, "{grade}");
    }
    let suspicious = SetId { attempt: 2, ..id("2026-11-20") };
    publish(&room.vault, &suspicious, Grade::Suspicious, &FILES);
    let best = room.vault.best(&host(), suspicious.night, Role::Node).unwrap().unwrap();
    assert_eq!(best.manifest.attempt, 1, "accepted, it is better than a further suspicious one");
}
