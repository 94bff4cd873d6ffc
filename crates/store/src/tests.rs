#![allow(clippy::unwrap_used)]
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use nightshift_core::digest::{Digest, Written};
use nightshift_core::fixtures as testing;
use nightshift_core::manifest::{self, Item};
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::proof::{Proof, Statement, StoredProof};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;

use super::*;
use crate::space::{Amount, SpaceError};

struct Fixture {
    _dir: tempfile::TempDir,
    vault: Vault,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("vault");
    fs::create_dir(&root).unwrap();
    Fixture { _dir: dir, vault: Vault::new(root) }
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
    testing::file(path, &format!("/{path}"), bytes)
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
    let fixture = fixture();
    let set = id("2026-11-22");
    publish(&fixture.vault, &set, Grade::Good, &FILES);
    assert!(fixture.vault.contains(&set));
    assert_eq!(fixture.vault.sets().unwrap(), std::slice::from_ref(&set));
    let directory = fixture.vault.directory(&set);
    assert_eq!(fs::read(directory.join(FILES[0].0)).unwrap(), FILES[0].1);
    assert_eq!(fs::read(directory.join(manifest::SIGNATURE_FILE)).unwrap(), b"signed");
    assert!(!fixture.vault.root().join(set.partial()).exists());
}

#[test]
fn a_published_set_is_never_started_again_or_replaced() {
    let fixture = fixture();
    let set = id("2026-11-22");
    publish(&fixture.vault, &set, Grade::Good, &FILES);
    assert!(matches!(fixture.vault.begin(&set), Err(StoreError::Published(_))));
    assert!(matches!(fixture.vault.resume(&set), Err(StoreError::Published(_))));
}

#[test]
fn a_set_has_one_writer_at_a_time() {
    let fixture = fixture();
    let set = id("2026-11-22");
    let first = fixture.vault.resume(&set).unwrap();
    assert!(fixture.vault.resume(&set).is_err(), "another pull of the same set must wait");
    assert!(fixture.vault.begin(&set).is_err());
    first.write("a", b"kept").unwrap();
    drop(first);
    assert!(fixture.vault.resume(&set).unwrap().left_over("a").is_some());
}

#[test]
fn a_sweep_leaves_a_set_that_is_being_written_of_any_night() {
    let fixture = fixture();
    let writing = fixture.vault.begin(&id("2026-11-22")).unwrap();
    writing.write("a", b"half").unwrap();
    let left = fixture.vault.begin(&id("2026-11-20")).unwrap();
    let left_at = left.directory().to_owned();
    drop(left);
    let swept = fixture.vault.sweep(Some(night("2026-11-23"))).unwrap();
    assert_eq!(swept, [left_at]);
    assert!(writing.directory().join("a").exists());
}

#[test]
fn a_sweep_completes_an_interrupted_removal_and_leaves_the_open_night() {
    let fixture = fixture();
    publish(&fixture.vault, &id("2026-11-20"), Grade::Good, &FILES);
    publish(&fixture.vault, &id("2026-11-21"), Grade::Good, &FILES);
    fs::remove_file(fixture.vault.directory(&id("2026-11-20")).join(manifest::FILE)).unwrap();
    let open = fixture.vault.begin(&id("2026-11-22")).unwrap().directory().to_owned();
    fixture.vault.sweep(Some(night("2026-11-22"))).unwrap();
    assert!(
        !fixture.vault.directory(&id("2026-11-20")).parent().unwrap().exists(),
        "its night is removed with it"
    );
    assert!(fixture.vault.contains(&id("2026-11-21")));
    assert!(open.exists(), "the partial set of the open night stays");
}

#[test]
fn a_sweep_leaves_files_that_are_not_nightshifts() {
    let fixture = fixture();
    fs::create_dir_all(fixture.vault.root().join("lost+found/2026-11-20/node")).unwrap();
    fs::create_dir_all(fixture.vault.root().join("n1/notes")).unwrap();
    assert!(fixture.vault.sweep(None).unwrap().is_empty());
    assert!(fixture.vault.root().join("lost+found/2026-11-20/node").exists());
}

#[test]
fn a_sweep_follows_no_link_and_a_file_in_place_of_the_vault_is_an_error() {
    let fixture = fixture();
    let outside = tempfile::tempdir().unwrap();
    let torn = outside.path().join("2026-11-20/node");
    fs::create_dir_all(&torn).unwrap();
    std::os::unix::fs::symlink(outside.path(), fixture.vault.root().join("n1")).unwrap();
    assert!(fixture.vault.sweep(None).unwrap().is_empty());
    assert!(torn.exists(), "it is not in the vault");
    let file = outside.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(Vault::new(&file).sets().is_err() && Vault::new(&file).sweep(None).is_err());
}

#[test]
fn a_sweep_removes_what_a_crash_left_of_a_hint() {
    let fixture = fixture();
    fs::create_dir(fixture.vault.host_directory(&host())).unwrap();
    let torn = fixture.vault.host_directory(&host()).join(".x1y2z3.part");
    let hour = std::time::SystemTime::now() - std::time::Duration::from_secs(3700);
    File::create(&torn).unwrap().set_modified(hour).unwrap();
    let fresh = fixture.vault.host_directory(&host()).join(".a1b2c3.part");
    fs::write(&fresh, b"{").unwrap();
    fixture.vault.sweep(None).unwrap();
    assert!(!torn.exists() && fresh.exists(), "one that is being written stays");
}

#[test]
fn an_unchanged_file_is_one_inode_and_a_changed_one_is_not() {
    let fixture = fixture();
    let (earlier, set) = (id("2026-11-21"), id("2026-11-22"));
    publish(&fixture.vault, &earlier, Grade::Good, &FILES);
    let partial = fixture.vault.begin(&set).unwrap();
    let wanted = Written { size: 10, sha256: Digest::of(b"kind: Node") };
    assert!(partial.link(&earlier, FILES[0].0, FILES[0].0, wanted).unwrap());
    let other = Written { size: 10, sha256: Digest::of(b"kind: Nude") };
    assert!(!partial.link(&earlier, FILES[0].0, "other", other).unwrap());
    partial.write("root_cron", b"# none").unwrap();
    partial.publish(&manifest_of(&set, Grade::Good, &FILES), None).unwrap();
    let of = |set: &SetId, path: &str| inode(fixture.vault.directory(set).join(path));
    assert_eq!(of(&set, FILES[0].0), of(&earlier, FILES[0].0));
    assert_ne!(of(&set, FILES[1].0), of(&earlier, FILES[1].0));
}

#[test]
fn linking_a_file_that_is_linked_already_leaves_no_temporary_name() {
    let fixture = fixture();
    let (earlier, set) = (id("2026-11-21"), id("2026-11-22"));
    publish(&fixture.vault, &earlier, Grade::Good, &FILES);
    let partial = fixture.vault.begin(&set).unwrap();
    let wanted = Written { size: 10, sha256: Digest::of(b"kind: Node") };
    for _ in 0..2 {
        assert!(partial.link(&earlier, FILES[0].0, FILES[0].0, wanted).unwrap());
    }
    let beside: Vec<_> = fs::read_dir(partial.directory().parent().unwrap()).unwrap().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
}

#[test]
fn a_damaged_file_is_not_linked_into_another_set() {
    let fixture = fixture();
    let (earlier, set) = (id("2026-11-21"), id("2026-11-22"));
    publish(&fixture.vault, &earlier, Grade::Good, &FILES);
    fs::write(fixture.vault.directory(&earlier).join(FILES[0].0), b"kind: Rust").unwrap();
    let partial = fixture.vault.begin(&set).unwrap();
    let wanted = Written { size: 10, sha256: Digest::of(b"kind: Node") };
    assert!(!partial.link(&earlier, FILES[0].0, FILES[0].0, wanted).unwrap());
}

#[test]
fn a_link_to_a_published_file_is_never_opened_for_writing() {
    let fixture = fixture();
    let (earlier, set) = (id("2026-11-21"), id("2026-11-22"));
    publish(&fixture.vault, &earlier, Grade::Good, &FILES);
    let partial = fixture.vault.begin(&set).unwrap();
    let wanted = Written { size: 10, sha256: Digest::of(b"kind: Node") };
    partial.link(&earlier, FILES[0].0, FILES[0].0, wanted).unwrap();
    assert!(partial.reopen(FILES[0].0).unwrap().is_none());
    assert!(!partial.directory().join(FILES[0].0).exists());
    assert_eq!(fs::read(fixture.vault.directory(&earlier).join(FILES[0].0)).unwrap(), b"kind: Node");
}

#[test]
fn an_interrupted_transfer_continues_at_the_end_of_its_file() {
    let fixture = fixture();
    let partial = fixture.vault.begin(&id("2026-11-22")).unwrap();
    partial.write("big", b"first half ").unwrap();
    let mut file = partial.reopen("big").unwrap().unwrap();
    assert_eq!(file.size(), 11);
    std::io::Write::write_all(&mut file, b"second half").unwrap();
    assert_eq!(file.finish().1.sha256, Digest::of(b"first half second half"));
    assert_eq!(partial.left_over("big").unwrap().sha256, Digest::of(b"first half second half"));
    assert!(partial.reopen("absent").unwrap().is_none());
}

#[test]
fn files_of_an_earlier_attempt_are_not_published() {
    let fixture = fixture();
    let set = id("2026-11-22");
    let partial = fixture.vault.begin(&set).unwrap();
    partial.write("stray/file", b"of another manifest").unwrap();
    for (path, bytes) in FILES {
        partial.write(path, bytes).unwrap();
    }
    partial.publish(&manifest_of(&set, Grade::Good, &FILES), None).unwrap();
    assert!(!fixture.vault.directory(&set).join("stray/file").exists());
}

#[test]
fn a_set_without_a_file_of_its_manifest_is_not_published() {
    let fixture = fixture();
    let set = id("2026-11-22");
    let partial = fixture.vault.begin(&set).unwrap();
    partial.write(FILES[0].0, FILES[0].1).unwrap();
    let error = partial.publish(&manifest_of(&set, Grade::Good, &FILES), None).unwrap_err();
    assert!(error.to_string().contains("root_cron"), "{error}");
    assert!(!fixture.vault.contains(&set));
}

#[test]
fn an_interrupted_removal_does_not_prevent_publishing() {
    let fixture = fixture();
    let set = id("2026-11-22");
    fs::create_dir_all(fixture.vault.directory(&set).join("etc")).unwrap();
    fs::write(fixture.vault.directory(&set).join("etc/left"), b"x").unwrap();
    assert!(!fixture.vault.contains(&set));
    publish(&fixture.vault, &set, Grade::Good, &FILES);
    assert!(!fixture.vault.directory(&set).join("etc/left").exists());
}

#[test]
fn removing_a_set_removes_its_proofs_and_its_empty_night() {
    let fixture = fixture();
    let set = id("2026-11-22");
    publish(&fixture.vault, &set, Grade::Good, &FILES);
    let proofs = fixture.vault.directory(&set).with_file_name("node.proofs");
    fs::create_dir(&proofs).unwrap();
    fs::write(proofs.join("m1.json"), b"{}").unwrap();
    let (directory, before) = (inode(fixture.vault.directory(&set)), sync::synced().len());
    fixture.vault.remove(&set).unwrap();
    assert!(
        sync::synced()[before..].contains(&directory),
        "the removal of the manifest is synced before the rest is removed"
    );
    assert!(!fixture.vault.directory(&set).parent().unwrap().exists());
    assert!(
        fixture.vault.host_directory(&host()).exists(),
        "the directory of the host stays, because now.json is in it"
    );
}

#[test]
fn the_best_set_has_the_best_grade_then_the_highest_attempt() {
    let fixture = fixture();
    let first = id("2026-11-22");
    for (attempt, grade) in [(1, Grade::Degraded), (2, Grade::Good), (3, Grade::Good), (4, Grade::Bad)] {
        publish(&fixture.vault, &SetId { attempt, ..first.clone() }, grade, &FILES);
    }
    let best = fixture.vault.best(&host(), first.night, Role::Node).unwrap();
    assert_eq!((best.manifest.attempt, best.grade), (3, Grade::Good));
    assert_eq!(fixture.vault.next_attempt(&host(), first.night, Role::Node).unwrap(), 5);
}

#[test]
fn a_set_that_cannot_be_read_does_not_hide_the_others() {
    let fixture = fixture();
    let first = id("2026-11-22");
    publish(&fixture.vault, &first, Grade::Good, &FILES);
    let second = SetId { attempt: 2, ..first.clone() };
    publish(&fixture.vault, &second, Grade::Good, &FILES);
    fs::write(fixture.vault.directory(&second).join(manifest::FILE), b"\0\0\0").unwrap();
    let best = fixture.vault.best(&host(), first.night, Role::Node).unwrap();
    assert_eq!(best.manifest.attempt, 1);
}

#[test]
fn the_previous_copy_is_the_newest_earlier_one_that_is_a_copy() {
    let fixture = fixture();
    publish(&fixture.vault, &id("2026-11-19"), Grade::Good, &FILES);
    publish(&fixture.vault, &id("2026-11-20"), Grade::Degraded, &FILES);
    publish(&fixture.vault, &id("2026-11-21"), Grade::Bad, &FILES);
    publish(&fixture.vault, &id("2026-11-22"), Grade::Good, &FILES);
    let previous = fixture.vault.previous(&host(), night("2026-11-22"), Role::Node).unwrap().unwrap();
    assert_eq!(previous.night, night("2026-11-20"));
}

#[test]
fn a_set_is_synced_before_its_manifest_and_its_directories_after_it() {
    let fixture = fixture();
    let set = id("2026-11-22");
    let root = fixture.vault.root().to_owned();
    publish(&fixture.vault, &set, Grade::Good, &FILES);
    let synced = sync::synced();
    let directory = fixture.vault.directory(&set);
    let mut must: Vec<PathBuf> =
        [FILES[0].0, FILES[1].0, manifest::FILE, manifest::SIGNATURE_FILE, "etc", ""]
            .iter()
            .map(|path| directory.join(path))
            .collect();
    must.extend([directory.parent().unwrap().to_owned(), fixture.vault.host_directory(&host()), root]);
    for path in must {
        assert!(synced.contains(&inode(path.clone())), "{} was not synced", path.display());
    }
    let at = |path: PathBuf| synced.iter().rposition(|synced| *synced == inode(path.clone())).unwrap();
    assert!(at(directory.join(FILES[0].0)) < at(directory.join(manifest::FILE)), "the manifest comes last");
    assert!(at(directory.join(manifest::FILE)) < at(directory.parent().unwrap().to_owned()));
}

#[test]
fn a_file_of_a_killed_writer_is_synced_before_it_counts() {
    let fixture = fixture();
    let partial = fixture.vault.begin(&id("2026-11-22")).unwrap();
    // A writer that was killed between its last write and its sync: readers see all of it, but it is not on disk.
    std::io::Write::write_all(&mut partial.create("big").unwrap(), b"whole").unwrap();
    let path = partial.directory().join("big");
    assert!(!sync::synced().contains(&inode(path.clone())));
    assert_eq!(partial.left_over("big").unwrap().size, 5);
    assert!(sync::synced().contains(&inode(path)));
}

#[test]
fn other_users_cannot_read_a_vault() {
    let fixture = fixture();
    let set = id("2026-11-22");
    publish(&fixture.vault, &set, Grade::Good, &FILES);
    let mut directories = vec![fixture.vault.host_directory(&host())];
    while let Some(directory) = directories.pop() {
        assert_eq!(
            fs::metadata(&directory).unwrap().permissions().mode() & 0o027,
            0,
            "{}",
            directory.display()
        );
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o027, 0, "{} has {mode:o}", entry.path().display());
            if entry.metadata().unwrap().is_dir() {
                directories.push(entry.path());
            }
        }
    }
}

#[test]
fn a_path_outside_the_set_is_refused() {
    let fixture = fixture();
    let partial = fixture.vault.begin(&id("2026-11-22")).unwrap();
    for bad in ["../out", "/etc/passwd", "a/../../out", ""] {
        assert!(partial.write(bad, b"x").is_err(), "{bad}");
    }
}

#[test]
fn a_small_file_is_replaced_as_a_whole_and_synced() {
    let fixture = fixture();
    let path = fixture.vault.root().join("now.json");
    replace_file(&path, b"old").unwrap();
    replace_file(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert!(sync::synced().contains(&inode(path.clone())));
    assert_eq!(fs::read_dir(fixture.vault.root()).unwrap().count(), 1);
    assert!(matches!(read_bounded(&path, 2), Err(StoreError::Io { action: "read", .. })));
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
fn an_acceptance_raises_a_suspicious_set_and_never_a_bad_one() {
    let fixture = fixture();
    for (night, grade, worth) in [
        ("2026-11-20", Grade::Suspicious, Grade::Good),
        ("2026-11-21", Grade::Diverged, Grade::Good),
        ("2026-11-22", Grade::Bad, Grade::Bad),
        ("2026-11-23", Grade::Degraded, Grade::Degraded),
    ] {
        let set = id(night);
        publish(&fixture.vault, &set, grade, &FILES);
        assert_eq!(fixture.vault.judge(&set).unwrap().grade, grade);
        let proof = accepted(&fixture.vault, &set, "2026-11-24T08:00:00Z");
        let proof = Proof { by: host(), ..proof };
        fixture.vault.put_proof(&StoredProof::new(proof, |_| None).unwrap()).unwrap();
        assert_eq!(fixture.vault.judge(&set).unwrap().grade, worth, "{grade}");
    }
    let suspicious = SetId { attempt: 2, ..id("2026-11-20") };
    publish(&fixture.vault, &suspicious, Grade::Suspicious, &FILES);
    let best = fixture.vault.best(&host(), suspicious.night, Role::Node).unwrap();
    assert_eq!(best.manifest.attempt, 1, "accepted, it is better than a further suspicious one");
}

#[test]
fn files_and_links_in_the_vault_that_could_be_hosts_hide_no_set() {
    let fixture = fixture();
    let set = id("2026-11-22");
    publish(&fixture.vault, &set, Grade::Good, &[("a", b"1")]);
    let root = fixture.vault.root();
    for stray in ["aquota.user", "README", "core.123", "n1/2026-11-21", "n1/2026-11-22/etcd"] {
        fs::write(root.join(stray), b"stray").unwrap();
    }
    std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
    std::os::unix::fs::symlink("/nowhere", root.join("dangling")).unwrap();
    assert_eq!(fixture.vault.sets().unwrap(), std::slice::from_ref(&set));
    assert_eq!(fixture.vault.sets_of_night(set.night).unwrap(), std::slice::from_ref(&set));
    assert_eq!(fixture.vault.nights_of(&"readme".parse().unwrap()).unwrap(), []);
    assert!(fixture.vault.list().unwrap().unlisted.is_empty());
    fixture.vault.sweep(None).unwrap();
    assert!(root.join("README").exists() && root.join("n1/2026-11-22/etcd").exists());
}

#[test]
fn a_host_directory_that_cannot_be_read_costs_the_sets_of_that_host() {
    let fixture = fixture();
    let set = id("2026-11-22");
    publish(&fixture.vault, &set, Grade::Good, &[("a", b"1")]);
    let other = SetId { host: "a1".parse().unwrap(), ..set.clone() };
    publish(&fixture.vault, &other, Grade::Good, &[("a", b"1")]);
    let closed = fixture.vault.host_directory(&other.host);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let (listed, night) = (fixture.vault.list().unwrap(), fixture.vault.sets_of_night(set.night).unwrap());
    fixture.vault.sweep(None).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o750)).unwrap();
    if rustix::process::geteuid().is_root() {
        println!("skipped: root reads every directory");
        return;
    }
    assert_eq!((listed.sets, night), (vec![set.clone()], vec![set]));
    assert!(listed.unlisted[0].to_string().contains("a1"), "{:?}", listed.unlisted);
}

#[test]
fn a_manifest_in_the_place_of_another_set_is_refused() {
    let fixture = fixture();
    let (set, other) = (id("2026-11-22"), id("2026-11-21"));
    publish(&fixture.vault, &set, Grade::Good, &[("a", b"1")]);
    publish(&fixture.vault, &other, Grade::Good, &[("a", b"1")]);
    let directory = |set: &SetId| fixture.vault.directory(set).join(manifest::FILE);
    fs::copy(directory(&other), directory(&set)).unwrap();
    assert!(matches!(fixture.vault.manifest(&set), Err(StoreError::Manifest { .. })));
}

#[test]
fn a_set_cannot_use_more_than_its_budget_also_in_inodes() {
    let fixture = fixture();
    let partial = fixture
        .vault
        .begin(&id("2026-11-22"))
        .unwrap()
        .within(Budget::fixed(Amount { bytes: 100, inodes: 4 }));
    partial.write("etc/a", &[0; 60]).unwrap();
    let error = partial.write("etc/b", &[0; 60]).unwrap_err();
    assert!(SpaceError::is_cause_of_store(&error), "{error}");
    partial.discard("etc/b").unwrap();
    partial.discard("etc/a").unwrap();
    partial.write("etc/b", &[0; 90]).unwrap();
    let error = partial.write("deep/down/c", b"").unwrap_err();
    assert!(SpaceError::is_cause_of_store(&error), "three directories and files more than are left: {error}");
}

#[test]
fn a_set_and_proofs_that_cannot_be_read_hide_no_others() {
    let fixture = fixture();
    let (old, set) = (id("2026-11-21"), id("2026-11-22"));
    for set in [&old, &set] {
        publish(&fixture.vault, set, Grade::Good, &[("a", b"1")]);
    }
    fs::write(fixture.vault.root().join(set.proofs()), b"a file in place of a directory").unwrap();
    assert_eq!(fixture.vault.proofs(&set), []);
    assert_eq!(fixture.vault.stored_proofs(&set).unusable.len(), 1);
    assert_eq!(fixture.vault.best(&set.host, set.night, set.role).unwrap().grade, Grade::Good);

    let manifest = fixture.vault.directory(&set).join(manifest::FILE);
    fs::remove_file(&manifest).unwrap();
    fs::create_dir(&manifest).unwrap();
    assert_eq!(fixture.vault.sets().unwrap(), [old.clone(), set.clone()], "it is there, and cannot be read");
    assert_eq!(fixture.vault.best(&set.host, set.night, set.role), None);
    let (judged, unreadable) = fixture.vault.judged(&set.host, set.night, set.role);
    assert_eq!((judged.len(), unreadable.len()), (0, 1));
    fixture.vault.sweep(None).unwrap();
    assert!(manifest.exists(), "it is not swept as one without a manifest");
    let previous = fixture.vault.previous(&set.host, "2026-11-23".parse().unwrap(), set.role).unwrap();
    assert_eq!(previous.map(|manifest| manifest.id()), Some(old), "an older one does");
}

#[test]
fn files_that_are_created_at_the_same_time_count_their_directories_once() {
    let fixture = fixture();
    for attempt in 1..=9 {
        let set: SetId = format!("n1/2026-11-2{attempt}/node").parse().unwrap();
        let inodes = 3 + 8;
        let budget = Budget::fixed(Amount { bytes: 100, inodes });
        let partial = fixture.vault.begin(&set).unwrap().within(budget);
        std::thread::scope(|scope| {
            for number in 0..8 {
                let partial = &partial;
                scope.spawn(move || partial.create(&format!("a/b/c/{number}")).unwrap());
            }
        });
        partial.budget().draw(0, 1).unwrap_err();
    }
}
