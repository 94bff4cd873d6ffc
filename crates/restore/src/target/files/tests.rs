use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use jiff::Timestamp;
use nightshift_core::digest::Digest;
use nightshift_core::owner::Owner;
use nightshift_core::restore::act::{Act, FileKind, FileSpec, Outcome};

use crate::target::ActiveState::Stopped;
use crate::target::crash;
use crate::target::testing::{Machine, PLAN, directory, file, files_with, link, modified, owner, spec};

const STEP: &str = "5.1";

fn put(machine: &Machine, files: &[FileSpec], bytes: &str) -> Result<Outcome, String> {
    machine.call_with(STEP, Act::PutFiles { files: files.to_vec() }, bytes.as_bytes())
}

/// A machine that was installed again, and the files of its backup.
fn installed() -> (Machine, Vec<FileSpec>, &'static str) {
    let machine = Machine::new();
    machine.write("/etc/origin/master/ca.crt", "new ca");
    machine.write("/etc/origin/node/pods/other.yaml", "of another tool");
    machine.write("/etc/origin/master/left.txt", "left");
    machine.write("/etc/is-a-file", "old file");
    machine.write("/etc/is-a-directory/inner", "old link");
    symlink("elsewhere", machine.path("/etc/link")).unwrap();
    let files = vec![
        file("/etc/is-a-directory", "1"),
        directory("/etc/is-a-file"),
        file("/etc/is-a-file/inner", "22"),
        link("/etc/link", "origin/master"),
        directory("/etc/origin"),
        directory("/etc/origin/master"),
        file("/etc/origin/master/ca.crt", "old ca"),
        file("/etc/origin/master/empty", ""),
        directory("/etc/origin/node/pods"),
        file("/etc/origin/node/pods/etcd.yaml", "etcd"),
    ];
    (machine, files, "122old caetcd")
}

fn assert_restored(machine: &Machine, files: &[FileSpec], at: usize) {
    for spec in files {
        let metadata =
            fs::symlink_metadata(machine.path(&spec.path)).unwrap_or_else(|_| panic!("{at}: {}", spec.path));
        let found = Timestamp::try_from(metadata.modified().unwrap()).unwrap();
        assert_eq!(found, spec.modified, "{at}: {}", spec.path);
        match &spec.kind {
            FileKind::File { sha256, .. } => {
                assert_eq!(
                    Digest::of(&fs::read(machine.path(&spec.path)).unwrap()),
                    *sha256,
                    "{at}: {}",
                    spec.path
                );
                assert_eq!(metadata.mode() & 0o7777, spec.mode, "{at}: {}", spec.path);
            }
            FileKind::Directory => {
                assert!(metadata.is_dir(), "{at}: {}", spec.path);
                assert_eq!(metadata.mode() & 0o7777, spec.mode, "{at}: {}", spec.path);
            }
            FileKind::Symlink { target } => {
                assert_eq!(fs::read_link(machine.path(&spec.path)).unwrap().to_str(), Some(target.as_str()));
            }
        }
    }
}

#[test]
fn files_directories_and_links_are_put_in_place_and_what_was_there_is_moved_aside() {
    let (machine, files, bytes) = installed();
    let outcome = put(&machine, &files, bytes).unwrap();
    assert!(outcome.changed);
    assert_restored(&machine, &files, 0);
    for (path, content) in [
        ("/etc/origin/master/ca.crt", "new ca"),
        ("/etc/is-a-file", "old file"),
        ("/etc/is-a-directory/inner", "old link"),
        ("/etc/origin/node/pods/other.yaml", "of another tool"),
    ] {
        assert_eq!(machine.read(&machine.aside("before", path)), content, "{path}");
    }
    let old_link = fs::read_link(machine.path(&machine.aside("before", "/etc/link"))).unwrap();
    assert_eq!(old_link.to_str(), Some("elsewhere"));
    assert!(!machine.path("/etc/origin/node/pods/other.yaml").exists(), "another pod would run");
    assert_eq!(machine.read("/etc/origin/master/left.txt"), "left");
    let notes = outcome.notes.summary();
    assert!(notes.contains("moved aside from /etc/origin/node/pods: other.yaml"), "{notes}");
    assert!(notes.contains("left in /etc/origin/master: left.txt"), "{notes}");

    let again = put(&machine, &files, bytes).unwrap();
    assert!(!again.changed, "{:?}", again.notes);
    assert_restored(&machine, &files, 0);
}

#[test]
fn files_that_are_put_in_place_after_a_kill_at_any_change_are_the_same() {
    for changes in 0.. {
        let (machine, files, bytes) = installed();
        let (killed, _) = crash::after(changes, || put(&machine, &files, bytes));
        if killed {
            put(&machine, &files, bytes).unwrap_or_else(|error| panic!("{changes}: {error}"));
        }
        assert_restored(&machine, &files, changes);
        let aside = machine.path(&machine.aside("before", ""));
        for old in ["new ca", "old file", "old link", "of another tool"] {
            assert_eq!(files_with(old, &aside), 1, "{changes}: {old}");
            assert_eq!(files_with(old, machine.root.path()), 1, "{changes}: {old}");
        }
        let names = fs::read_dir(machine.path("/etc/origin/master")).unwrap().count();
        assert_eq!(names, 3, "{changes}: nothing half-written is left");
        assert!(!put(&machine, &files, bytes).unwrap().changed, "{changes}");
        if !killed {
            assert!(changes > 30, "too few changes were tried: {changes}");
            break;
        }
    }
}

#[test]
fn a_file_that_differs_in_its_mode_or_time_alone_is_replaced_too() {
    let machine = Machine::new();
    let files = [file("/etc/a", "a")];
    put(&machine, &files, "a").unwrap();
    let path = machine.path("/etc/a");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(put(&machine, &files, "a").unwrap().changed);
    fs::File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert!(put(&machine, &files, "a").unwrap().changed);
    assert_restored(&machine, &files, 0);
    for number in ["", ".2"] {
        assert_eq!(machine.read(&machine.aside("before", &format!("/etc/a{number}"))), "a");
    }
}

#[test]
fn an_acl_is_restored_with_the_mode_that_the_owning_group_had() {
    let machine = Machine::new();
    let mut secret = file("/etc/secret", "s");
    let acl = "user::rw-,user:1000:r--,group::---,mask::r--,other::---";
    secret.access.acl = Some(acl.parse().unwrap());
    secret.mode = 0o600;
    let plain = file("/etc/plain", "p");
    put(&machine, &[secret.clone(), plain.clone()], "sp").unwrap();
    let found = |path: &str| {
        let file = fs::File::open(machine.path(path)).unwrap();
        nightshift_store::access::read(&file).0.acl.map(|acl| acl.to_string())
    };
    assert_eq!((found("/etc/secret").as_deref(), found("/etc/plain")), (Some(acl), None));
    assert_eq!(fs::metadata(machine.path("/etc/secret")).unwrap().mode() & 0o7777, 0o640, "the mask's");
    assert!(!put(&machine, &[secret, plain], "sp").unwrap().changed);
}

#[test]
fn an_owner_is_found_by_name_else_by_number() {
    let machine = Machine::new();
    let of = |name: &str, uid| Owner { user: Some(name.to_owned()), uid, ..owner() };
    let mut known = file("/etc/known", "k");
    known.owner = of("etcd", 4_000_000);
    let mut unknown = file("/etc/unknown", "u");
    unknown.owner = of("ghost", owner().uid);
    let outcome = put(&machine, &[known, unknown], "ku").unwrap();
    assert!(outcome.notes.summary().contains("user ghost"), "{:?}", outcome.notes);
    for path in ["/etc/known", "/etc/unknown"] {
        assert_eq!(fs::metadata(machine.path(path)).unwrap().uid(), owner().uid, "{path}");
    }
}

#[test]
fn hostile_requests_change_nothing() {
    let machine = Machine::new();
    machine.write("/etc/shadow", "root");
    fs::create_dir(machine.path("/etc/real")).unwrap();
    symlink("real", machine.path("/etc/linked")).unwrap();
    let refused = |files: &[FileSpec], bytes: &str| {
        let error = put(&machine, files, bytes).unwrap_err();
        assert_eq!(machine.read("/etc/shadow"), "root", "{error}");
        error
    };
    for path in ["/etc/../etc/shadow", "etc/shadow", "/", "/etc/./shadow", "/etc//shadow"] {
        assert!(refused(&[file(path, "x")], "x").contains("not an absolute path"), "{path}");
    }
    let state = refused(&[file("/var/lib/nightshift-restore/hold", "x")], "x");
    assert!(state.contains("their own state"), "{state}");
    assert!(refused(&[file("/etc/a", "x"), file("/etc/a", "y")], "xy").contains("twice"));
    let through = refused(&[file("/etc/linked/a", "x")], "x");
    assert!(through.contains("etc/linked: it is a symlink"), "{through}");
    assert_eq!(fs::read_dir(machine.path("/etc/real")).unwrap().count(), 0);
    assert!(refused(&[file("/etc/shadow/a", "x")], "x").contains("not a directory"));

    assert!(refused(&[file("/etc/shadow", "xyz")], "xy").contains("1 bytes too early"));
    assert!(refused(&[file("/etc/shadow", "xyz")], "xyw").contains("SHA-256"));
    let names = fs::read_dir(machine.path("/etc")).unwrap().count();
    assert_eq!(names, 4, "no temporary file is left");
    let more = put(&machine, &[file("/etc/b", "x")], "xy").unwrap_err();
    assert!(more.contains("more bytes follow"), "{more}");
}

#[test]
fn a_hold_survives_the_files_of_the_directory_that_it_is_in() {
    const UNIT: &str = "/etc/systemd/system/etcd.service.d";
    let machine = Machine::with(&[("etcd.service", Stopped)]);
    machine.call("3.1", Act::Hold { units: vec!["etcd.service".to_owned()] }).unwrap();
    let drop_in = format!("{UNIT}/50-nightshift-restore.conf");
    let held = machine.read(&drop_in);
    machine.write(&format!("{UNIT}/other.conf"), "[Service]");
    let files = [directory(UNIT), file(&format!("{UNIT}/10-own.conf"), "own")];
    put(&machine, &files, "own").unwrap();
    assert_eq!(machine.read(&drop_in), held);
    assert!(!machine.path(&format!("{UNIT}/other.conf")).exists());
    // One that was collected during a restore.
    let outcome = put(&machine, &[file(&drop_in, "collected")], "collected").unwrap();
    assert!(outcome.notes.summary().contains("is a drop-in of this restore"), "{:?}", outcome.notes);
    assert_eq!(machine.read(&drop_in), held);
}

#[test]
fn what_was_changed_after_a_start_is_left_and_named() {
    let machine = Machine::with(&[("kubelet.service", Stopped)]);
    let files = [file("/etc/a", "a"), file("/etc/b", "b")];
    put(&machine, &files, "ab").unwrap();
    machine.write("/etc/a", "before a start this is put right");
    assert!(put(&machine, &files, "ab").unwrap().changed);
    machine
        .call("7.1", Act::Start { units: vec!["kubelet.service".to_owned()], manifests: Vec::new() })
        .unwrap();
    machine.write("/etc/a", "rotated");
    let outcome = put(&machine, &files, "ab").unwrap();
    assert!(!outcome.changed && outcome.notes.summary().ends_with("left so: /etc/a"), "{:?}", outcome.notes);
    assert_eq!(machine.read("/etc/a"), "rotated");
    // A step that was not done before the start.
    machine.call_with("6.1", Act::PutFiles { files: files.to_vec() }, b"ab").unwrap();
    assert_eq!(machine.read("/etc/a"), "a");
}

#[test]
fn a_file_that_needs_no_change_keeps_its_inode_and_a_time_before_1970_is_restored() {
    let machine = Machine::new();
    let mut old = file("/etc/old", "o");
    old.modified = "1969-07-20T20:17:40.25Z".parse().unwrap();
    put(&machine, &[old.clone()], "o").unwrap();
    assert_restored(&machine, &[old.clone()], 0);
    let inode = fs::metadata(machine.path("/etc/old")).unwrap().ino();
    let new = spec("/etc/new", FileKind::Symlink { target: "old".to_owned() }, 0o777);
    assert!(put(&machine, &[new, old], "o").unwrap().changed);
    assert_eq!(fs::metadata(machine.path("/etc/old")).unwrap().ino(), inode);
    let journal = machine.read(&format!("/var/lib/nightshift-restore/{PLAN}/journal"));
    assert_eq!(journal.matches("\"event\":\"placed\"").count(), 2, "{journal}");
    assert!(modified().as_second() > 0);
}
