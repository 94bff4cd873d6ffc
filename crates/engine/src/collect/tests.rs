#![allow(clippy::unwrap_used)]
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nightshift_core::manifest::{ItemKind, is_safe_path};
use nightshift_core::set_path::SetId;
use nightshift_store::Vault;

use super::*;

struct Fixture {
    _dir: tempfile::TempDir,
    /// What is collected.
    root: PathBuf,
    vault: Vault,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let base = fs::canonicalize(dir.path()).unwrap();
    let (root, vault) = (base.join("root"), base.join("vault"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&vault).unwrap();
    Fixture { _dir: dir, root, vault: Vault::new(vault) }
}

impl Fixture {
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
fn a_directory_is_collected_with_symlinks_as_symlinks_even_dangling_ones() {
    let fixture = fixture();
    fs::create_dir(fixture.root.join("etc")).unwrap();
    fs::write(fixture.root.join("etc/a"), b"abc").unwrap();
    symlink("/nowhere/at/all", fixture.root.join("etc/dangling")).unwrap();
    let collected = fixture.collect(fixture.rule("etc/"));
    assert!(collected.faults.is_empty(), "{:?}", collected.faults);
    let kinds: Vec<_> = collected.items.iter().map(|item| (item.path.clone(), item.kind.clone())).collect();
    let link = ItemKind::Symlink { target: "/nowhere/at/all".into() };
    assert!(kinds.contains(&(fixture.place("etc/dangling"), link)), "{kinds:?}");
    assert!(kinds.contains(&(fixture.place("etc"), ItemKind::Directory)));
}

#[test]
fn a_fifo_in_a_directory_is_noted_and_not_waited_for() {
    let fixture = fixture();
    fs::create_dir(fixture.root.join("etc")).unwrap();
    let fifo = fixture.root.join("etc/fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let collected = fixture.collect(fixture.rule("etc/"));
    assert_eq!(collected.items.len(), 1);
    assert!(collected.notes.iter().any(|note| note.contains("fifo")), "{:?}", collected.notes);
}

#[test]
fn an_absent_file_is_a_fault_if_required_and_not_if_optional() {
    let fixture = fixture();
    let collected = fixture.collect(fixture.rule("absent.yaml"));
    assert!(collected.faults[0].ends_with("absent.yaml: absent"), "{:?}", collected.faults);
    let FileRule::Path { path, .. } = fixture.rule("absent.yaml") else { unreachable!() };
    let collected = fixture.collect(FileRule::Path { path, alias: None, optional: true });
    assert!(collected.faults.is_empty() && collected.notes.is_empty());
}

#[test]
fn what_cannot_be_read_is_denied_and_not_absent() {
    if rustix::process::geteuid().is_root() {
        // Root reads everything, as the daemon does by its capability.
        return;
    }
    let fixture = fixture();
    fs::write(fixture.root.join("secret"), b"x").unwrap();
    fs::set_permissions(fixture.root.join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    let collected = fixture.collect(fixture.rule("secret"));
    assert!(collected.faults[0].contains("denied"), "{:?}", collected.faults);
}

#[test]
fn a_name_that_is_not_utf_8_is_left_out_and_noted() {
    let fixture = fixture();
    fs::create_dir(fixture.root.join("etc")).unwrap();
    fs::write(fixture.root.join("etc/good"), b"x").unwrap();
    fs::write(fixture.root.join("etc").join(OsStr::from_bytes(b"b\xffd")), b"x").unwrap();
    let collected = fixture.collect(fixture.rule("etc/"));
    assert_eq!(collected.items.len(), 2);
    assert!(collected.faults.iter().any(|note| note.contains("UTF-8")), "{:?}", collected.faults);
}

#[test]
fn a_symlink_whose_target_is_not_utf_8_is_a_fault() {
    let fixture = fixture();
    fs::create_dir(fixture.root.join("etc")).unwrap();
    symlink(Path::new(OsStr::from_bytes(b"b\xffd")), fixture.root.join("etc/link")).unwrap();
    let collected = fixture.collect(fixture.rule("etc/"));
    assert!(collected.faults.iter().any(|fault| fault.contains("etc/link")), "{collected:?}");
}

#[test]
fn files_too_deep_for_a_set_are_left_out_and_the_others_collected() {
    let fixture = fixture();
    let mut deep = fixture.root.join("etc");
    fs::create_dir(&deep).unwrap();
    fs::write(deep.join("good"), b"x").unwrap();
    for _ in 0..62 {
        deep.push("d");
        fs::create_dir(&deep).unwrap();
    }
    fs::write(deep.join("deep"), b"x").unwrap();
    let collected = fixture.collect(fixture.rule("etc/"));
    assert!(collected.items.iter().any(|item| item.path == fixture.place("etc/good")));
    assert!(collected.items.iter().all(|item| is_safe_path(&item.path)));
    assert!(collected.faults.iter().any(|note| note.contains("deep")), "{:?}", collected.faults);
}

#[test]
fn a_file_that_the_sandbox_may_hide_is_not_just_called_absent() {
    let collected = fixture().collect(FileRule::Path {
        path: "/root/there-is-no-such-file".into(),
        alias: None,
        optional: false,
    });
    assert!(collected.faults[0].contains("BindReadOnlyPaths"), "{:?}", collected.faults);
}

#[test]
fn a_file_system_without_labels_gives_items_without_one() {
    let fixture = fixture();
    fs::write(fixture.root.join("a"), b"abc").unwrap();
    let collected = fixture.collect(fixture.rule("a"));
    let item = &collected.items[0];
    let labelled = rustix::fs::getxattr(fixture.root.join("a"), "security.selinux", &mut [0u8; 256]).is_ok();
    assert_eq!(item.selinux.is_some(), labelled);
    assert_eq!(item.mode & 0o7000, 0);
}

#[test]
fn directories_and_links_have_their_own_label() {
    let fixture = fixture();
    fs::create_dir(fixture.root.join("etc")).unwrap();
    fs::write(fixture.root.join("target"), "target").unwrap();
    symlink(fixture.root.join("target"), fixture.root.join("etc/link")).unwrap();
    let set = |path: &str| {
        let label = format!("system_u:object_r:{}_t:s0\0", path.replace('/', "_"));
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(fixture.root.join(path), "security.selinux", label.as_bytes(), flags)
    };
    if ["target", "etc", "etc/link"].map(set).iter().any(Result::is_err) {
        println!("skipped: only root can set labels, and not on every file system");
        return;
    }
    let collected = fixture.collect(fixture.rule("etc/"));
    let label = |path: &str| {
        let items = collected.items.iter();
        items.clone().find(|item| item.path == fixture.place(path)).unwrap().selinux.as_deref()
    };
    assert_eq!(label("etc"), Some("system_u:object_r:etc_t:s0"));
    assert_eq!(label("etc/link"), Some("system_u:object_r:etc_link_t:s0"), "not that of its target");
}

#[test]
fn a_file_that_keeps_changing_is_collected_and_marked() {
    let fixture = fixture();
    let path = fixture.root.join("busy.log");
    fs::write(&path, vec![b'x'; 32 << 20]).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let collected = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = fs::OpenOptions::new().append(true).open(&path).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::io::Write::write_all(&mut log, b"one more line\n").unwrap();
            }
        });
        kit::eventually("the file grows", || fs::metadata(&path).unwrap().len() > 32 << 20);
        let collected = fixture.collect(fixture.rule("busy.log"));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        collected
    });
    assert!(collected.items[0].changed);
    assert!(collected.faults[0].contains("changed while it was read, twice"), "{:?}", collected.faults);
}

#[test]
fn a_commands_output_is_stored_and_its_failure_named() {
    let fixture = fixture();
    let command = |argv: &[&str]| FileRule::Command {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        alias: "packages.txt".into(),
        optional: false,
    };
    let collected = fixture.collect(command(&["echo", "kubelet-1.11"]));
    assert_eq!(collected.items[0].kind, {
        let bytes = b"kubelet-1.11\n";
        let sha256 = nightshift_core::digest::Digest::of(bytes);
        ItemKind::File { size: bytes.len() as u64, sha256 }
    });
    for argv in [&["false"][..], &["/no/such/program"][..]] {
        assert!(fixture.collect(command(argv)).faults[0].starts_with("packages.txt: "));
    }
}

#[test]
fn a_secret_in_the_words_of_a_command_is_in_no_manifest_and_no_fault() {
    let fixture = fixture();
    let command = |program: &str| FileRule::Command {
        argv: [program, "--user", "root:hunter2", "--password=hunter2"].map(str::to_owned).to_vec(),
        alias: "users.txt".into(),
        optional: false,
    };
    let collected = fixture.collect(command("echo"));
    assert_eq!(collected.items[0].source, "$ echo --user root:******* --password=*******");
    for program in ["false", "/no/such/program"] {
        let fault = fixture.collect(command(program)).faults.remove(0);
        assert!(
            fault.contains(&format!("{program} --user root:*******")) && !fault.contains("hunter2"),
            "{fault}"
        );
    }
}

/// `user::rw-,user:1000:r--,group::---,mask::r--,other::---`
const ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 0, 0, 255, 255, 255, 255, 16,
    0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];

#[test]
fn an_acl_is_kept_and_does_not_widen_the_mode() {
    let fixture = fixture();
    let path = fixture.root.join("etc/a.conf");
    fs::create_dir(fixture.root.join("etc")).unwrap();
    fs::write(&path, b"secret").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let set = |path: &Path, name| rustix::fs::setxattr(path, name, &ACL, rustix::fs::XattrFlags::empty());
    if set(&path, "system.posix_acl_access").is_err() {
        println!("skipped: the file system stores no ACLs");
        return;
    }
    set(&fixture.root.join("etc"), "system.posix_acl_default").unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640,
        "the group's bits are the mask"
    );
    let collected = fixture.collect(fixture.rule("etc/"));
    assert!(collected.faults.is_empty(), "{:?}", collected.faults);
    let item = |path: &str| collected.items.iter().find(|item| item.path == fixture.place(path)).unwrap();
    let text = "user::rw-,user:1000:r--,group::---,mask::r--,other::---";
    let acl = |acl: &Option<nightshift_core::access::Acl>| acl.as_ref().map(ToString::to_string);
    assert_eq!(
        (acl(&item("etc/a.conf").access.acl).as_deref(), item("etc/a.conf").mode),
        (Some(text), 0o600)
    );
    assert_eq!(acl(&item("etc").access.default_acl).as_deref(), Some(text));
}

#[test]
fn a_file_that_another_user_may_have_linked_into_the_directory_is_left_out() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give a file to another user");
        return;
    }
    let fixture = fixture();
    fs::create_dir(fixture.root.join("etc")).unwrap();
    for name in ["own", "foreign"] {
        fs::write(fixture.root.join("etc").join(name), name).unwrap();
        fs::hard_link(fixture.root.join("etc").join(name), fixture.root.join(name)).unwrap();
    }
    std::os::unix::fs::chown(fixture.root.join("foreign"), Some(4321), None).unwrap();
    let collected = fixture.collect(fixture.rule("etc/"));
    assert!(collected.items.iter().any(|item| item.path == fixture.place("etc/own")));
    assert!(collected.items.iter().all(|item| item.path != fixture.place("etc/foreign")));
    assert!(collected.faults[0].contains("etc/foreign: it has further hard links"), "{:?}", collected.faults);
}

#[test]
fn a_command_that_fails_is_a_fault_also_if_it_is_optional_and_one_that_is_not_installed_is_not() {
    let fixture = fixture();
    let command = |program: &str| FileRule::Command {
        argv: vec![program.to_owned()],
        alias: "packages.txt".into(),
        optional: true,
    };
    let failed = fixture.collect(command("false"));
    assert!(failed.faults[0].starts_with("packages.txt: "), "{failed:?}");
    let absent = fixture.collect(command("/no/such/program"));
    assert!(absent.faults.is_empty() && absent.notes[0].starts_with("packages.txt: "), "{absent:?}");
}

#[test]
fn what_has_no_space_in_the_set_costs_itself() {
    let fixture = fixture();
    fs::write(fixture.root.join("sparse"), b"").unwrap();
    fs::File::options().write(true).open(fixture.root.join("sparse")).unwrap().set_len(1 << 40).unwrap();
    fs::write(fixture.root.join("small"), b"x").unwrap();
    let budget = fixture.vault.budget(0, nightshift_store::space::Amount { bytes: 10, inodes: 100 });
    let partial = fixture.partial().within(budget);
    let large = FileRule::Command {
        argv: vec!["echo".into(), "more than ten bytes".into()],
        alias: "large.txt".into(),
        optional: false,
    };
    let rules = [fixture.rule("sparse"), large, fixture.rule("small")];
    let collected = collect(&rules, &partial, None).unwrap();
    assert_eq!(collected.items.iter().map(|item| &item.path).collect::<Vec<_>>(), [&fixture.place("small")]);
    for (fault, of) in collected.faults.iter().zip(["sparse: left out: ", "large.txt: left out: "]) {
        assert!(fault.contains(of) && fault.contains("maximum"), "{fault}");
    }
    assert_eq!(collected.faults.len(), 2);
}
