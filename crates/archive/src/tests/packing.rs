use std::cell::Cell;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

use age::secrecy::ExposeSecret as _;
use nightshift_core::digest::Digest;
use nightshift_core::manifest::{ItemKind, Manifest};
use nightshift_core::settings::Compression;

use super::kit::*;
use crate::{Damage, Identities, PackError, open_encrypted, pack, visit_blocking};

#[test]
fn gnu_tar_unpacks_what_was_packed() {
    let vault = Vault::new();
    let packed = vault.packed(Compression::Gzip);
    assert_eq!(packed.name.to_string(), format!("{TOP}.tgz"));
    assert_eq!(packed.sha256, Digest::of(&fs::read(vault.out()).unwrap()));
    assert_eq!(packed.bytes, fs::metadata(vault.out()).unwrap().len());

    let dir = vault.dir.path();
    run_well(dir, &["sh", "-c", "gzip -t < archive"]);
    run_well(dir, &["tar", "-xzf", "archive"]);
    let node = dir.join(TOP).join("n1.x/node");
    let manifest = Manifest::decode(&fs::read(node.join("manifest.json")).unwrap()).unwrap();
    for item in &manifest.items {
        let path = node.join(&item.path);
        match &item.kind {
            ItemKind::File { sha256, .. } => assert_eq!(*sha256, Digest::of(&fs::read(path).unwrap())),
            ItemKind::Directory => assert_eq!(mode(&path), 0o750),
            ItemKind::Symlink { target } if target.starts_with('/') => {
                assert_eq!((item.path.as_str(), target.as_str()), ("etc/outside", "/etc/passwd"));
                assert_eq!(
                    fs::read_link(path).unwrap().to_str().unwrap(),
                    "passwd",
                    "relative to the set's root"
                );
            }
            ItemKind::Symlink { target } => {
                assert_eq!(fs::read_link(path).unwrap().to_str().unwrap(), target);
            }
        }
    }
    let etcd = dir.join(TOP).join("e1.x");
    let original = vault.dir.path().join("e1.x/2026-11-22/etcd/snapshot.db.gz");
    assert_eq!(fs::read(etcd.join("etcd/snapshot.db.gz")).unwrap(), fs::read(original).unwrap());
    assert_eq!(fs::read(etcd.join("etcd/manifest.json.sig")).unwrap(), b"a signature");
    assert_eq!(fs::read(etcd.join("etcd.proofs/m1.x-20261123T000000Z.json")).unwrap(), b"{}");
    assert_eq!(mode(&dir.join(TOP)), 0o700);
}

#[test]
fn headers_are_as_in_the_manifest_and_entries_in_a_fixed_order() {
    let vault = Vault::new();
    vault.packed(Compression::Gzip);
    let dir = vault.dir.path();
    let listed = run_well(dir, &["tar", "-tvzf", "archive", "--numeric-owner"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].ends_with(&format!("{TOP}/archive.json")), "{listed}");
    assert!(lines[2].ends_with(&format!("{TOP}/RESTORE.txt")), "{listed}");
    assert!(lines[3].ends_with(&format!("{TOP}/e1.x/etcd/manifest.json")), "{listed}");
    assert!(lines[4].ends_with(&format!("{TOP}/e1.x/etcd/manifest.json.sig")), "{listed}");
    let config = lines.iter().find(|line| line.ends_with("etc/origin/node-config.yaml")).unwrap();
    assert!(config.starts_with("-rw-r----- 1234/567 "), "{config}");
    assert!(config.contains(" 17 2023-11-14 22:13 "), "{config}");
    let named = run_well(dir, &["tar", "-tvzf", "archive"]);
    assert!(named.contains("-rw-r----- etcd/etcd"), "{named}");
}

#[test]
fn gnu_tar_restores_acls_and_capabilities_and_without_them_no_more_than_the_owning_group_has() {
    let vault = Vault::new();
    let text = "user::rw-,user:1000:r--,group::---,mask::r--,other::---";
    // cap_net_bind_service=ep
    let capability = "0x0100000200040000000000000000000000000000";
    let (mut secret, bytes) = file("etc/secret", b"key");
    (secret.mode, secret.access.acl) = (0o600, Some(text.parse().unwrap()));
    let (mut top, none) = directory("etc");
    top.access.default_acl = Some(text.parse().unwrap());
    let (mut program, code) = file(&format!("etc/{}", "deep/".repeat(30) + "program"), b"code");
    program.access.capability = Some(capability.parse().unwrap());
    let set = vault.set("n1.x/2026-11-22/node", vec![(secret, bytes), (top, none), (program, code)]);
    let packed = pack(&vault.request(vec![set], Compression::Gzip), &|| false).unwrap();
    list_bytes(&fs::read(vault.out()).unwrap(), false).unwrap();
    let dir = vault.dir.path();
    let unpacked = |options: &[&str], to: &str| {
        fs::create_dir(dir.join(to)).unwrap();
        let options = [&["tar", "-xzf", "archive", "-C", to, "--no-same-owner"], options].concat();
        run_well(dir, &options);
        dir.join(to).join(TOP).join("n1.x/node/etc")
    };
    let plain = unpacked(&["-p"], "plain");
    assert_eq!(mode(&plain.join("secret")), 0o600);
    let attribute = |path: &std::path::Path, name: &str| {
        let mut value = [0; 256];
        rustix::fs::getxattr(path, name, &mut value).map(|length| value[..length].to_vec())
    };
    assert!(attribute(&plain.join("secret"), "system.posix_acl_access").is_err());
    let full = unpacked(&["-p", "--acls", "--xattrs", "--xattrs-include=*"], "full");
    let acl = |path: &std::path::Path, name| {
        attribute(path, name)
            .map(|value| nightshift_core::access::Acl::from_xattr(&value).unwrap().to_string())
    };
    assert_eq!(acl(&full.join("secret"), "system.posix_acl_access").as_deref(), Ok(text));
    assert_eq!(acl(&full, "system.posix_acl_default").as_deref(), Ok(text));
    if rustix::process::geteuid().is_root() {
        let path = full.join("deep/".repeat(30) + "program");
        let value = attribute(&path, "security.capability").unwrap();
        let value = nightshift_core::access::Capability::from_xattr(&value).unwrap();
        assert_eq!(value.to_string(), capability);
    }
    assert_eq!(packed.listing.contents.sets.len(), 1);
}

#[test]
fn zstd_archives_open_with_zstd_and_tar() {
    let vault = Vault::new();
    let packed = vault.packed(Compression::Zstd);
    assert_eq!(packed.name.to_string(), format!("{TOP}.tar.zst"));
    list_bytes(&fs::read(vault.out()).unwrap(), true).unwrap();
    if have("zstd") {
        run_well(vault.dir.path(), &["zstd", "-q", "-t", "archive"]);
        let listed = run_well(vault.dir.path(), &["tar", "-I", "zstd", "-tf", "archive"]);
        assert!(listed.contains("snapshot.db.gz"));
    }
}

#[test]
fn an_encrypted_archive_opens_with_age_and_with_nightshift() {
    let vault = Vault::new();
    let key = age::x25519::Identity::generate();
    let mut request = vault.request(vault.usual(), Compression::Gzip);
    request.recipients = vec![key.to_public().to_string()];
    let packed = pack(&request, &|| false).unwrap();
    assert_eq!(packed.name.to_string(), format!("{TOP}.tgz.age"));
    assert_eq!(packed.sha256, Digest::of(&fs::read(vault.out()).unwrap()));

    let secret = key.to_string().expose_secret().to_owned();
    let identities = Identities::read(secret.as_bytes()).unwrap();
    let opened = open_encrypted(fs::File::open(vault.out()).unwrap(), &identities).unwrap();
    assert_eq!(visit_blocking(opened, &packed.name, &mut ()).unwrap().entries, packed.listing.entries);

    let stranger = age::x25519::Identity::generate().to_string().expose_secret().to_owned();
    let stranger = Identities::read(stranger.as_bytes()).unwrap();
    assert!(open_encrypted(fs::File::open(vault.out()).unwrap(), &stranger).is_err());

    if have("age") {
        fs::write(vault.dir.path().join("key"), secret).unwrap();
        let listed = run_well(vault.dir.path(), &["sh", "-c", "age -d -i key archive | tar -tz"]);
        assert!(listed.contains("snapshot.db.gz"));
    }
}

#[test]
fn an_invalid_recipient_is_named() {
    let vault = Vault::new();
    let mut request = vault.request(vault.usual(), Compression::Gzip);
    request.recipients = vec!["age1nonsense".into()];
    let error = pack(&request, &|| false).unwrap_err();
    assert!(error.to_string().contains("invalid age recipient `age1nonsense`"), "{error}");
}

#[test]
fn the_same_sets_make_the_same_bytes() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let (one, other) = (Vault::new(), Vault::new());
        assert_eq!(one.packed(compression).sha256, other.packed(compression).sha256);
    }
}

#[test]
fn compressed_files_are_stored_and_others_compressed() {
    let vault = Vault::new();
    let gz = vault.set("e1.x/2026-11-22/etcd", vec![file("snapshot.db.gz", &vec![7; 1 << 20])]);
    assert!(vault.pack_sets(vec![gz]).unwrap().bytes > 1 << 20);
    let plain = vault.set("e1.x/2026-11-22/etcd", vec![file("snapshot.db", &vec![7; 1 << 20])]);
    assert!(vault.pack_sets(vec![plain]).unwrap().bytes < 20_000);
}

fn damage(change: impl FnOnce(&std::path::Path)) -> (String, Damage) {
    let vault = Vault::new();
    let sets = vault.usual();
    change(&vault.dir.path().join("e1.x/2026-11-22/etcd/snapshot.db.gz"));
    let error = vault.pack_sets(sets).unwrap_err();
    assert_eq!(fs::metadata(vault.out()).unwrap().len(), 0, "what was begun is emptied");
    let PackError::Damaged { set, path, source } = error else { panic!("{error}") };
    assert_eq!(set.to_string(), "e1.x/2026-11-22/etcd");
    (path, *source)
}

#[test]
fn a_file_that_differs_from_its_manifest_is_named() {
    let append = |path: &std::path::Path, length: usize| {
        let mut bytes = fs::read(path).unwrap();
        bytes.resize(length, 0);
        fs::write(path, bytes).unwrap();
    };
    let (path, grew) = damage(|path| append(path, (1 << 20) + 1));
    assert!(path == "snapshot.db.gz" && matches!(grew, Damage::Longer { expected: 1_048_576 }), "{grew}");
    let (_, shrank) = damage(|path| append(path, 1000));
    assert!(matches!(shrank, Damage::Shorter { expected: 1_048_576, found: 1000 }), "{shrank}");
    let (_, changed) = damage(|path| fs::write(path, vec![0; 1 << 20]).unwrap());
    assert!(matches!(changed, Damage::OtherContent { .. }), "{changed}");
    let (_, gone) = damage(|path| fs::remove_file(path).unwrap());
    assert!(matches!(gone, Damage::Unreadable(_)), "{gone}");
    let (_, link) = damage(|path| {
        fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
    });
    assert!(matches!(link, Damage::Unreadable(_)), "{link}");
    let (_, no_file) = damage(|path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    });
    assert!(matches!(no_file, Damage::NotAFile), "{no_file}");
    let (path, other) = damage(|path| fs::write(path.with_file_name("manifest.json"), "{}").unwrap());
    assert!(path == "manifest.json" && matches!(other, Damage::OtherManifest), "{other}");
}

#[test]
fn an_archive_is_packed_without_the_damaged_set() {
    let vault = Vault::new();
    let sets = vault.usual();
    fs::write(sets[0].directory.join("etc/empty"), "no more").unwrap();
    let request = vault.request(sets, Compression::Gzip);
    assert!(pack(&request, &|| false).is_err());
    let good = request.sets.into_iter().filter(|set| set.id.to_string().starts_with("e1.x")).collect();
    assert_eq!(vault.pack_sets(good).unwrap().listing.contents.sets.len(), 1);
}

#[test]
fn a_file_with_several_hard_links_is_packed() {
    let vault = Vault::new();
    let sets = vault.usual();
    let conf = sets[1].directory.join("etc/etcd/etcd.conf");
    fs::hard_link(&conf, vault.dir.path().join("elsewhere")).unwrap();
    assert_eq!(fs::metadata(&conf).unwrap().nlink(), 2);
    vault.pack_sets(sets).unwrap();
}

#[test]
fn a_file_among_the_proofs_that_is_not_one_is_left_out_and_named() {
    let vault = Vault::new();
    let sets = vault.usual();
    let proofs = sets[1].directory.with_file_name("etcd.proofs");
    fs::write(proofs.join("note.txt"), "x").unwrap();
    fs::write(proofs.join("m1.x-20261123T000000Z.json.sig"), "a signature").unwrap();
    let packed = vault.pack_sets(sets).unwrap();
    assert_eq!(packed.left_out, ["e1.x/etcd.proofs/note.txt"]);
    let attached = packed.listing.contents.sets.iter().flat_map(|set| &set.attached);
    let attached: Vec<&str> = attached.map(|attached| attached.path.as_str()).collect();
    assert!(attached.contains(&"e1.x/etcd.proofs/m1.x-20261123T000000Z.json.sig"), "{attached:?}");
}

#[test]
fn each_attempt_at_a_set_is_packed_with_its_own_proofs() {
    let vault = Vault::new();
    let mut sets = vault.usual();
    let second = vault.set("e1.x/2026-11-22/etcd.2", vec![file("snapshot.db.gz", b"second")]);
    let proofs = second.directory.with_file_name("etcd.2.proofs");
    fs::create_dir(&proofs).unwrap();
    fs::write(proofs.join("m1.x-20261123T010000Z.json"), "{}").unwrap();
    sets.push(second);
    let packed = vault.pack_sets(sets).unwrap();
    let attached = |at: usize| packed.listing.contents.sets[at].attached.len();
    assert_eq!((attached(0), attached(1)), (2, 2));
    let listed = run_well(vault.dir.path(), &["tar", "-tzf", "archive"]);
    for path in ["e1.x/etcd.2/snapshot.db.gz", "e1.x/etcd.2.proofs/m1.x-20261123T010000Z.json"] {
        assert!(listed.contains(path), "{listed}");
    }
}

#[test]
fn a_set_whose_proofs_cannot_be_listed_is_packed_without_them() {
    let vault = Vault::new();
    let sets = vault.usual();
    let proofs = sets[1].directory.with_file_name("etcd.proofs");
    fs::remove_dir_all(&proofs).unwrap();
    fs::write(&proofs, "a file in place of the directory").unwrap();
    let packed = vault.pack_sets(sets).unwrap();
    assert_eq!(packed.left_out, ["e1.x/etcd.proofs"]);
    let packed = packed.listing.contents.sets.iter().map(|set| set.id.to_string());
    assert!(packed.collect::<Vec<_>>().contains(&"e1.x/2026-11-22/etcd".to_owned()));
}

#[test]
fn a_set_of_another_night_and_a_set_named_twice_are_refused() {
    let vault = Vault::new();
    let other = vault.set("e1.x/2026-11-21/etcd", vec![]);
    assert!(matches!(vault.pack_sets(vec![other]), Err(PackError::Misplaced(_))));
    let (one, again) = (vault.set("e1.x/2026-11-22/etcd", vec![]), vault.set("e1.x/2026-11-22/etcd", vec![]));
    assert!(matches!(vault.pack_sets(vec![one, again]), Err(PackError::Misplaced(_))));
}

#[test]
fn a_full_disk_is_the_reported_error() {
    let vault = Vault::new();
    let mut request = vault.request(vault.usual(), Compression::Gzip);
    request.out = fs::File::options().write(true).open("/dev/full").unwrap();
    let PackError::Write(why) = pack(&request, &|| false).unwrap_err() else { panic!("another error") };
    assert_eq!(why.kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn packing_that_is_stopped_leaves_no_readable_archive() {
    let vault = Vault::new();
    let asked = Cell::new(0);
    let mut request = vault.request(vault.usual(), Compression::Gzip);
    for stop_at in 0..18 {
        asked.set(0);
        request.out = fs::File::create(vault.out()).unwrap();
        let stopped = pack(&request, &|| asked.replace(asked.get() + 1) == stop_at);
        assert!(matches!(stopped, Err(PackError::Stopped)), "{stop_at}");
        assert!(!run(vault.dir.path(), &["tar", "-tzf", "archive"]).status.success());
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // the thread of a runtime is what is tested
fn packing_works_on_a_thread_of_a_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let vault = Vault::new();
    let packed = runtime.block_on(async move {
        tokio::task::spawn_blocking(move || {
            let packed = vault.packed(Compression::Gzip);
            let mut bytes = Vec::new();
            fs::File::open(vault.out()).unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, packed.bytes);
            list_bytes(&bytes, false).unwrap()
        })
        .await
    });
    assert_eq!(packed.unwrap().contents.missing, ["n2.x node: no set of tonight"]);
}

#[test]
fn no_entry_has_a_set_uid_bit_and_no_link_climbs_out_through_another() {
    let vault = Vault::new();
    let (mut shell, bytes) = file("rootshell", b"#!/bin/sh\n");
    shell.mode = 0o6755;
    let set = vault.set(
        "n1.x/2026-11-22/node",
        vec![(shell, bytes), link("a/b/c/d/up", "../../../.."), link("out", "a/b/c/d/up/../../../../../etc")],
    );
    let packed = vault.pack_sets(vec![set]).unwrap();
    let [archived] = &packed.listing.contents.sets[..] else { panic!("{packed:?}") };
    assert_eq!(&*archived.left_out[0], "out");
    let dir = vault.dir.path();
    run_well(dir, &["tar", "-xpzf", "archive"]);
    let node = dir.join(TOP).join("n1.x/node");
    assert_eq!(mode(&node.join("rootshell")), 0o755);
    assert!(node.join("out").symlink_metadata().is_err());
    assert_eq!(fs::canonicalize(node.join("a/b/c/d/up")).unwrap(), fs::canonicalize(&node).unwrap());
    list_bytes(&fs::read(vault.out()).unwrap(), false).unwrap();
}
