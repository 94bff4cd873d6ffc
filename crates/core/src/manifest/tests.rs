#![allow(clippy::unwrap_used)]
use super::*;

fn item(path: &str, kind: ItemKind) -> Item {
    Item {
        path: path.into(),
        source: format!("/{path}"),
        kind,
        owner: Owner { uid: 0, gid: 0, user: Some("root".into()), group: Some("root".into()) },
        mode: 0o600,
        modified: Timestamp::UNIX_EPOCH,
        selinux: None,
        access: Access::default(),
        changed: false,
    }
}

fn file(path: &str) -> Item {
    item(path, ItemKind::File { size: 3, sha256: Digest::of(b"abc") })
}

fn manifest(items: Vec<Item>) -> Manifest {
    Manifest {
        format: FORMAT,
        cluster: "prod".parse().unwrap(),
        host: "n1.x".parse().unwrap(),
        role: Role::Node,
        night: "2026-11-22".parse().unwrap(),
        attempt: 1,
        made_by: "n1.x".parse().unwrap(),
        made_at: Timestamp::UNIX_EPOCH,
        made_with: "0.1.0".into(),
        machine: Machine::default(),
        system: None,
        grade: Grade::Good,
        notes: Lines::default(),
        vanished: Lines::default(),
        etcd: None,
        items,
    }
}

fn decoded(items: Vec<Item>) -> Result<Manifest, ManifestError> {
    Manifest::decode(&manifest(items).encode().unwrap())
}

#[test]
fn a_manifest_is_decoded_from_its_encoding() {
    let items = vec![
        file("etc/origin/node/node-config.yaml"),
        item("etc/origin/node", ItemKind::Directory),
        item("etc/link", ItemKind::Symlink { target: "origin".into() }),
    ];
    assert_eq!(decoded(items.clone()).unwrap(), manifest(items));
}

/// The sample has every field that a manifest may have.
#[test]
fn a_manifest_of_format_1_has_the_bytes_it_always_had() {
    let stored = include_str!("format_1.json");
    let manifest = Manifest::decode(stored.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(manifest.encode().unwrap()).unwrap(), stored);
}

#[test]
fn paths_that_leave_the_set_are_refused() {
    for bad in ["/etc/passwd", "../x", "a/../../b", "a//b", "./a", "", "a/", "manifest.json", "a\0b"] {
        let refused = decoded(vec![file(bad)]).unwrap_err();
        assert!(matches!(refused, ManifestError::UnsafePath(_)), "{bad:?}");
        assert!(!refused.to_string().contains(char::is_control), "{refused:?}");
    }
}

#[test]
fn a_path_that_is_listed_twice_or_as_file_and_directory_is_refused() {
    let link = item("etc", ItemKind::Symlink { target: "/".into() });
    for items in [vec![file("a"), file("a")], vec![link, file("etc/passwd")], vec![file("a/b"), file("a")]] {
        assert!(matches!(decoded(items), Err(ManifestError::Clash(_))));
    }
}

#[test]
fn a_newer_format_and_a_broken_manifest_are_different_errors() {
    let newer = br#"{"format": 2, "anything": []}"#;
    assert!(matches!(Manifest::decode(newer), Err(ManifestError::Newer(2))));
    assert!(matches!(Manifest::decode(b"{}"), Err(ManifestError::Shape(_))));
}

#[test]
fn a_manifest_of_another_host_is_refused() {
    let made = manifest(vec![]);
    let expected = SetId { host: "n2.x".parse().unwrap(), ..made.id() };
    assert!(made.expect(&made.id(), &made.cluster).is_ok());
    assert!(matches!(made.expect(&expected, &made.cluster), Err(ManifestError::OtherSet { .. })));
}

#[test]
fn a_link_to_the_outside_of_the_set_is_recognised() {
    assert!(link_stays_inside("etc/a/link", "../b/file"));
    assert!(link_stays_inside("link", "file"));
    assert!(!link_stays_inside("etc/link", "../../file"));
    assert!(!link_stays_inside("link", "/etc/passwd"));
    assert!(!link_stays_inside("link", ""));
}

#[test]
fn the_file_list_of_a_newer_format_can_be_read() {
    let newer = br#"{"format": 7, "made-by": {"odd": 1}, "items": [
        {"path": "etc/a", "kind": "file", "size": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "acl": []},
        {"path": "etc", "kind": "folder"}]}"#;
    let list = FileList::decode(newer).unwrap();
    assert!(list.is_newer());
    let file = ListedFile { path: "etc/a".into(), size: 3, sha256: Digest::of(b"abc") };
    assert_eq!(list.files, [file]);
    let hostile = String::from_utf8_lossy(newer).replace("etc/a", "../a");
    assert!(matches!(FileList::decode(hostile.as_bytes()), Err(ManifestError::UnsafePath(_))));
}

#[test]
fn the_file_list_of_this_format_contains_its_files() {
    let made = manifest(vec![file("etc/a"), item("etc", ItemKind::Directory)]);
    let list = FileList::decode(&made.encode().unwrap()).unwrap();
    assert!(!list.is_newer());
    assert_eq!(list.files.len(), made.files().count());
}

#[test]
fn text_of_a_manifest_is_bounded_and_harmless_and_its_bytes_stay_as_they_are() {
    let mut hostile: serde_json::Value = serde_json::from_slice(&manifest(vec![]).encode().unwrap()).unwrap();
    hostile["notes"] = (0..100_000).map(|_| "\u{1b}[2J forged\nline".repeat(100)).collect();
    hostile["made_with"] = "\u{1b}]0;owned\u{7}".into();
    hostile["machine"]["hostname"] = "\u{202e}".repeat(10_000).into();
    let bytes = serde_json::to_vec(&hostile).unwrap();
    let decoded = Manifest::decode(&bytes).unwrap();
    assert_eq!(decoded.notes.len(), crate::text::MAX_LINES + 1);
    let texts = decoded.notes.iter().chain([&decoded.made_with, &decoded.machine.hostname]);
    assert!(texts.clone().all(|text| text.chars().all(crate::text::is_harmless)), "{:?}", texts.last());
    assert!(decoded.encode().unwrap().len() < 20_000);
}

#[test]
fn paths_that_name_too_many_directories_are_refused() {
    let deep = |n: usize| format!("{n}/{}f", "d/".repeat(60));
    let items: Vec<Item> = (0..MAX_ITEMS / 61 + 1).map(|n| file(&deep(n))).collect();
    assert!(decoded(items[..100].to_vec()).is_ok());
    let bytes = manifest(items).encode().unwrap();
    assert!(matches!(Manifest::decode(&bytes), Err(ManifestError::TooManyDirectories)));
    assert!(matches!(FileList::decode(&bytes), Err(ManifestError::TooManyDirectories)));
}

#[test]
fn items_are_counted_while_they_are_read() {
    let mut text = String::from_utf8(manifest(vec![]).encode().unwrap()).unwrap();
    let one = serde_json::to_string(&file("a")).unwrap();
    let many = format!("[{}]", vec![one; MAX_ITEMS + 1].join(","));
    text = text.replace("\"items\": []", &format!("\"items\": {many}"));
    let error = Manifest::decode(text.as_bytes()).unwrap_err();
    assert!(crate::chain(&error).contains("more than 100000 entries"), "{}", crate::chain(&error));
    assert!(max_bytes(Role::Node) < max_bytes(Role::Master));
}

#[test]
fn an_error_that_quotes_a_manifest_is_one_short_line() {
    let huge = format!("good\n\u{1b}[2Jn2/2026-11-22/node: {}", "x".repeat(1 << 20));
    for pointer in ["/grade", "/format", "/items/0/sha256", "/items/0/mode", "/items/0/kind", "/items"] {
        let mut hostile: serde_json::Value =
            serde_json::from_slice(&manifest(vec![file("a")]).encode().unwrap()).unwrap();
        *hostile.pointer_mut(pointer).unwrap() = huge.clone().into();
        let error = Manifest::decode(&serde_json::to_vec(&hostile).unwrap()).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.chars().count() < 400, "{pointer}: {} bytes", source.len());
        assert!(source.chars().all(crate::text::is_harmless), "{pointer}: {source}");
    }
}
