use nightshift_core::manifest::{FileList, ListedFile, Manifest, is_safe_path};

/// What decodes encodes to the same manifest, no path leaves the set, and its files are those that any version lists.
pub fn manifest(bytes: &[u8]) {
    let list = FileList::decode(bytes);
    if let Ok(list) = &list {
        assert!(list.files.iter().all(|file| stays_inside(&file.path)));
    }
    let Ok(manifest) = Manifest::decode(bytes) else { return };
    assert!(manifest.items.iter().all(|item| stays_inside(&item.path)));
    assert!(manifest.id().path().components().count() == 3, "not below the vault: {:?}", manifest.id());
    if let Ok(list) = list {
        assert!(!list.is_newer());
        for (item, size, sha256) in manifest.files() {
            let listed = ListedFile { path: item.path.clone(), size, sha256 };
            assert!(list.files.contains(&listed), "not listed: {}", item.path);
        }
    }
    let encoded = manifest.encode().expect("a manifest is valid JSON");
    assert_eq!(Manifest::decode(&encoded).expect("what was encoded"), manifest);
}

/// By the standard library's rules, beside nightshift's own.
pub(crate) fn stays_inside(path: &str) -> bool {
    use std::path::{Component, Path};
    is_safe_path(path) && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}
