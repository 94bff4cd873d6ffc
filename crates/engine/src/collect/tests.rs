#![allow(clippy::unwrap_used)]
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nightshift_core::manifest::ItemKind;
use nightshift_core::set_path::SetId;

use super::*;
use nightshift_store::Vault;

struct Room {
    _dir: tempfile::TempDir,
    /// What is collected.
    root: PathBuf,
    vault: Vault,
}

fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let base = fs::canonicalize(dir.path()).unwrap();
    let (root, vault) = (base.join("root"), base.join("vault"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&vault).unwrap();
    Room { _dir: dir, root, vault: Vault::new(vault) }
}

impl Room {
    fn partial(&self) -> Partial {
        let set: SetId = "n1/2026-11-22/node".parse().unwrap();
        self.vault.begin(&set).unwrap()
    }

    fn rule(&self, path: &str) -> FileRule {
        FileRule::Path { path: format!("{}/{path}", self.root.display()), alias: None, optional: false }
    }

    fn collect(&self, rule: FileRule) -> Collected {
        collect(&[rule], &self.partial(), None).unwrap()
    }

    fn place(&self, path: &str) -> String {
        self.root.join(path).to_str().unwrap().trim_start_matches('/').to_owned()
    }
}

#[test]
fn a_folder_is_collected_with_links_as_links_dangling_ones_too() {
    let room = room();
    fs::create_dir(room.root.join("etc")).unwrap();
    fs::write(room.root.join("etc/a"), b"abc").unwrap();
    symlink("/nowhere/at/all", room.root.join("etc/dangling")).unwrap();
    let collected = room.collect(room.rule("etc/"));
    assert!(collected.faults.is_empty(), "{:?}", collected.faults);
    let kinds: Vec<_> = collected.items.iter().map(|item| (item.path.clone(), item.kind.clone())).collect();
    let link = ItemKind::Symlink { target: "/nowhere/at/all".into() };
    assert!(kinds.contains(&(room.place("etc/dangling"), link)), "{kinds:?}");
    assert!(kinds.contains(&(room.place("etc"), ItemKind::Directory)));
}

#[test]
fn a_fifo_in_a_folder_is_noted_and_never_waited_for() {
    let room = room();
    fs::create_dir(room.root.join("etc")).unwrap();
    let fifo = room.root.join("etc/fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let collected = room.collect(room.rule("etc/"));
    assert_eq!(collected.items.len(), 1);
    assert!(collected.notes.iter().any(|note| note.contains("fifo")), "{:?}", collected.notes);
}

#[test]
fn a_required_file_that_is_absent_is_a_fault_and_an_optional_one_is_none() {
    let room = room();
    let collected = room.collect(room.rule("absent.yaml"));
    assert!(collected.faults[0].ends_with("absent.yaml: absent"), "{:?}", collected.faults);
    let FileRule::Path { path, .. } = room.rule("absent.yaml") else { unreachable!() };
    let collected = room.collect(FileRule::Path { path, alias: None, optional: true });
    assert!(collected.faults.is_empty() && collected.notes.is_empty());
}

#[test]
fn what_cannot_be_read_is_denied_and_not_absent() {
    if rustix::process::geteuid().is_root() {
        // Root reads everything, as the daemon does by its capability.
        return;
    }
    let room = room();
    fs::write(room.root.join("secret"), b"x").unwrap();
    fs::set_permissions(room.root.join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    let collected = room.collect(room.rule("secret"));
    assert!(collected.faults[0].contains("denied"), "{:?}", collected.faults);
}

#[test]
fn a_name_that_is_no_text_is_left_out_and_said_so() {
    let room = room();
    fs::create_dir(room.root.join("etc")).unwrap();
    fs::write(room.root.join("etc/good"), b"x").unwrap();
    fs::write(room.root.join("etc").join(OsStr::from_bytes(b"b\xffd")), b"x").unwrap();
    let collected = room.collect(room.rule("etc/"));
    assert_eq!(collected.items.len(), 2);
    assert!(collected.notes.iter().any(|note| note.contains("UTF-8")), "{:?}", collected.notes);
}

#[test]
fn a_link_to_what_is_no_text_is_a_fault_and_not_another_link() {
    let room = room();
    fs::create_dir(room.root.join("etc")).unwrap();
    symlink(Path::new(OsStr::from_bytes(b"b\xffd")), room.root.join("etc/link")).unwrap();
    let collected = room.collect(room.rule("etc/"));
    assert!(collected.faults.iter().any(|fault| fault.contains("etc/link")), "{collected:?}");
}

#[test]
fn a_folder_too_deep_for_a_set_costs_no_other_file() {
    let room = room();
    let mut deep = room.root.join("etc");
    fs::create_dir(&deep).unwrap();
    fs::write(deep.join("good"), b"x").unwrap();
    for _ in 0..62 {
        deep.push("d");
        fs::create_dir(&deep).unwrap();
    }
    fs::write(deep.join("deep"), b"x").unwrap();
    let collected = room.collect(room.rule("etc/"));
    assert!(collected.items.iter().any(|item| item.path == room.place("etc/good")));
    assert!(collected.items.iter().all(|item| is_safe_path(&item.path)));
    assert!(collected.notes.iter().any(|note| note.contains("deep")), "{:?}", collected.notes);
}

#[test]
fn a_file_under_a_folder_that_the_sandbox_hides_is_not_called_absent() {
    let collected = room().collect(FileRule::Path {
        path: "/root/there-is-no-such-file".into(),
        alias: None,
        optional: false,
    });
    assert!(collected.faults[0].contains("BindReadOnlyPaths"), "{:?}", collected.faults);
}

#[test]
fn a_file_system_without_labels_gives_items_without_one() {
    let room = room();
    fs::write(room.root.join("a"), b"abc").unwrap();
    let collected = room.collect(room.rule("a"));
    let item = &collected.items[0];
    let labelled = rustix::fs::getxattr(room.root.join("a"), "security.selinux", &mut [0u8; 256]).is_ok();
    assert_eq!(item.selinux.is_some(), labelled);
    assert_eq!(item.mode & 0o7000, 0);
}

#[test]
fn a_file_that_is_written_to_all_the_time_is_taken_and_marked() {
    let room = room();
    let path = room.root.join("busy.log");
    fs::write(&path, vec![b'x'; 4 << 20]).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let collected = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = fs::OpenOptions::new().append(true).open(&path).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::io::Write::write_all(&mut log, b"one more line\n").unwrap();
            }
        });
        let collected = room.collect(room.rule("busy.log"));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        collected
    });
    assert!(collected.items[0].changed);
    assert!(collected.faults[0].contains("changed while it was read, twice"), "{:?}", collected.faults);
}

#[test]
fn a_commands_output_is_stored_and_its_failure_named() {
    let room = room();
    let command = |argv: &[&str]| FileRule::Command {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        alias: "packages.txt".into(),
        optional: false,
    };
    let collected = room.collect(command(&["echo", "kubelet-1.11"]));
    assert_eq!(collected.items[0].kind, {
        let bytes = b"kubelet-1.11\n";
        let sha256 = nightshift_core::digest::Digest::of(bytes);
        ItemKind::File { size: bytes.len() as u64, sha256 }
    });
    for argv in [&["false"][..], &["/no/such/program"][..]] {
        assert!(room.collect(command(argv)).faults[0].starts_with("packages.txt: "));
    }
}
