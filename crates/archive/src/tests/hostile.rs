//! Archives that were made to harm their reader.

use std::fs;
use std::io::{Read as _, Write as _};

use flate2::Compression as Level;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use nightshift_core::settings::Compression;
use tar::{EntryType, Header};

use super::kit::*;
use crate::ListError;

fn entry(path: &str, kind: EntryType, size: u64) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o640);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// A sound archive, unpacked, with `more` before its end.
fn with_entry(more: &[u8]) -> Vec<u8> {
    let vault = Vault::new();
    vault.packed(Compression::Gzip);
    let mut tar = Vec::new();
    MultiGzDecoder::new(fs::File::open(vault.out()).unwrap()).read_to_end(&mut tar).unwrap();
    tar.truncate(tar.len() - 1024);
    tar.extend_from_slice(more);
    tar.extend_from_slice(&[0; 1024]);
    gzip(&tar)
}

/// The `archive.json` of an archive of one set.
fn contents(set: crate::ArchivedSet) -> crate::Contents {
    crate::Contents {
        format: 1,
        cluster: "prod".parse().unwrap(),
        host: "m1.x".parse().unwrap(),
        night: "2026-11-22".parse().unwrap(),
        edition: 1,
        made_at: jiff::Timestamp::UNIX_EPOCH,
        made_with: String::new(),
        sets: vec![set],
        missing: Vec::new(),
        host_keys: Vec::new(),
        files: Vec::new(),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn entries_that_no_manifest_names_are_refused() {
    list_bytes(&with_entry(b""), false).unwrap();
    for path in [
        "../escape",
        "/etc/passwd",
        "m1.x_2026.11.22/../escape",
        "m1.x_2026.11.22/n1.x/node/extra",
        "m1.x_2026.11.22/n1.x/node/etc/empty",
        "m1.x_2026.11.22/archive.json",
        "",
    ] {
        let error = list_bytes(&with_entry(&entry(path, EntryType::Regular, 0)), false).unwrap_err();
        assert!(matches!(error, ListError::Unexpected { .. }), "{path}: {error}");
    }
}

#[test]
fn devices_pipes_and_hard_links_are_refused() {
    for kind in
        [EntryType::Block, EntryType::Char, EntryType::Fifo, EntryType::Link, EntryType::XGlobalHeader]
    {
        let error = list_bytes(&with_entry(&entry("m1.x_2026.11.22/x", kind, 0)), false).unwrap_err();
        assert!(matches!(error, ListError::Refused { .. }), "{kind:?}: {error}");
    }
}

#[test]
fn a_name_or_an_acl_without_an_entry_is_refused() {
    for kind in [EntryType::XHeader, EntryType::GNULongName] {
        let error = list_bytes(&with_entry(&entry("m1.x_2026.11.22/x", kind, 0)), false).unwrap_err();
        assert!(matches!(error, ListError::Broken { .. }), "{kind:?}: {error}");
    }
}

#[test]
fn a_long_name_is_refused_before_it_is_read() {
    let mut long = entry("././@LongLink", EntryType::GNULongName, 1 << 40);
    long.resize(1 << 20, b'a');
    let error = list_bytes(&with_entry(&long), false).unwrap_err();
    assert!(matches!(error, ListError::Broken { .. }), "{error}");
}

#[test]
fn an_endless_archive_manifest_is_refused_before_it_is_read() {
    let tar = entry("m1.x_2026.11.22/archive.json", EntryType::Regular, 1 << 40);
    let error = list_bytes(&gzip(&tar), false).unwrap_err();
    assert!(matches!(error, ListError::TooLarge { .. }), "{error}");
}

#[test]
fn an_archive_that_unpacks_to_far_more_than_its_size_is_refused() {
    let vault = Vault::new();
    let size: u64 = 64 << 30;
    let zeros = vault.set("n1.x/2026-11-22/node", vec![file("etc/zeros", b"")]);
    let mut manifest = zeros.manifest.clone();
    if let nightshift_core::manifest::ItemKind::File { size: stated, .. } = &mut manifest.items[0].kind {
        *stated = size;
    }
    let bytes = manifest.encode().unwrap();
    let contents = contents(crate::ArchivedSet {
        id: zeros.id.clone(),
        grade: manifest.grade,
        manifest_sha256: nightshift_core::digest::Digest::of(&bytes),
        attached: Vec::new(),
        left_out: nightshift_core::text::Lines::default(),
    });
    let mut head = Vec::new();
    for (path, data) in
        [("archive.json", serde_json::to_vec(&contents).unwrap()), ("n1.x/node/manifest.json", bytes)]
    {
        head.extend(entry(&format!("{TOP}/{path}"), EntryType::Regular, data.len() as u64));
        head.extend_from_slice(&data);
        head.resize(head.len().next_multiple_of(512), 0);
    }
    let mut zeros =
        Header::from_byte_slice(&entry(&format!("{TOP}/n1.x/node/etc/zeros"), EntryType::Regular, size))
            .clone();
    zeros.set_uid(1234);
    zeros.set_gid(567);
    zeros.set_mtime(1_700_000_000);
    zeros.set_cksum();
    head.extend_from_slice(zeros.as_bytes());
    let mut packed = zstd::encode_all(&head[..], 1).unwrap();
    let frame = zstd::encode_all(&vec![0; 64 << 20][..], 19).unwrap();
    (0..1024).for_each(|_| packed.extend_from_slice(&frame));
    let error = list_bytes(&packed, true).unwrap_err();
    assert!(matches!(error, ListError::Bomb { .. }), "{error}");
}

#[test]
fn a_file_beside_a_set_that_would_leave_the_archive_or_replace_another_sets_is_refused() {
    for (path, good) in [
        ("n1.x/node/manifest.json.sig", true),
        ("n1.x/node.proofs/m1.x-20261123T000000Z.json", true),
        ("../escape", false),
        ("/etc/passwd", false),
        ("n1.x/../escape", false),
        ("n1.x/node.proofs/..", false),
        ("n1.x/node/etc/passwd", false),
        ("n2.x/node/manifest.json.sig", false),
    ] {
        let empty = nightshift_core::digest::Digest::of(b"");
        let contents = contents(crate::ArchivedSet {
            id: "n1.x/2026-11-22/node".parse().unwrap(),
            grade: nightshift_core::outcome::Grade::Good,
            manifest_sha256: empty,
            attached: vec![crate::Attached { path: path.into(), size: 0, sha256: empty }],
            left_out: nightshift_core::text::Lines::default(),
        });
        let name = format!("{TOP}.tgz").parse().unwrap();
        let decoded = crate::Contents::decode(&contents.encode().unwrap(), &name);
        assert_eq!(decoded.is_ok(), good, "{path}: {decoded:?}");
    }
}

#[test]
fn a_file_of_the_archive_itself_has_a_known_name_and_is_listed_once() {
    let empty = nightshift_core::digest::Digest::of(b"");
    let name = format!("{TOP}.tgz").parse().unwrap();
    for (paths, good) in [
        (&["RESTORE.txt", "allowed_signers"][..], true),
        (&["../escape"], false),
        (&["n1.x/node/manifest.json"], false),
        (&["RESTORE.txt", "RESTORE.txt"], false),
    ] {
        let file = |path: &&str| crate::Attached { path: (*path).into(), size: 0, sha256: empty };
        let set = crate::ArchivedSet {
            id: "n1.x/2026-11-22/node".parse().unwrap(),
            grade: nightshift_core::outcome::Grade::Good,
            manifest_sha256: empty,
            attached: Vec::new(),
            left_out: nightshift_core::text::Lines::default(),
        };
        let contents = crate::Contents { files: paths.iter().map(file).collect(), ..contents(set) };
        let decoded = crate::Contents::decode(&contents.encode().unwrap(), &name);
        assert_eq!(decoded.is_ok(), good, "{paths:?}: {decoded:?}");
    }
}

#[test]
fn a_capability_that_the_manifest_does_not_have_is_refused() {
    let vault = Vault::new();
    vault.packed(Compression::Gzip);
    let mut tar = Vec::new();
    MultiGzDecoder::new(fs::File::open(vault.out()).unwrap()).read_to_end(&mut tar).unwrap();
    let config = "etc/origin/node-config.yaml";
    let at = tar.windows(config.len()).position(|name| name == config.as_bytes()).unwrap() / 512 * 512;
    // A manifest names it too; its own header follows all of them.
    let header = (at..tar.len()).step_by(512).find(|at| {
        let name = &tar[*at..at + 100];
        name.starts_with(TOP.as_bytes()) && name.windows(config.len()).any(|part| part == config.as_bytes())
    });
    let header = header.unwrap();
    let record = b"44 SCHILY.xattr.security.capability=0123456\n";
    let mut planted = entry("././@PaxHeader", EntryType::XHeader, record.len() as u64);
    planted.extend_from_slice(record);
    planted.resize(1024, 0);
    tar.splice(header..header, planted);
    let refused = list_bytes(&gzip(&tar), false).unwrap_err();
    assert!(matches!(&refused, ListError::Differs { path, .. } if path.ends_with(config)), "{refused}");
}
