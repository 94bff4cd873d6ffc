//! The encryption keys in the sets of masters.

use std::path::{Path, PathBuf};

use nightshift_core::api_server::{MASTER_CONFIG, POD, named_by_master_config, named_by_pod};
use nightshift_core::manifest::{Item, ItemKind, Manifest};
use nightshift_snapshot::{Keyring, is_configuration};
use nightshift_store::read_below;

const EXTENSIONS: [&str; 4] = [".yaml", ".yml", ".json", ".conf"];
/// The maximum size of such a file in bytes.
const MAX_BYTES: u64 = 256 << 10;
/// The maximum number of files of one set that are read in a search.
const MAX_FILES: usize = 500;

/// The keys of these sets, each with its directory; `None` without a set. Blocks.
pub fn of_sets<'m>(sets: impl IntoIterator<Item = (PathBuf, &'m Manifest)>) -> Option<Keyring> {
    let mut keyring = None;
    for (directory, manifest) in sets {
        of_set(&directory, manifest, keyring.get_or_insert_default());
    }
    keyring
}

/// Adds the keys in the configuration that the API server's own configuration names, else those in any file that is one.
fn of_set(directory: &Path, manifest: &Manifest, keyring: &mut Keyring) {
    let text = |item: &Item| {
        let bytes = read_below(directory, &item.path, MAX_BYTES).inspect_err(|error| {
            tracing::warn!("cannot read {}: {}", item.path, nightshift_core::chain(error));
        });
        bytes.ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    // A path counts as well below another directory: a drop-in may have bound the host's files there.
    let item = |path: &Path| {
        let relative = path.strip_prefix("/").unwrap_or(path);
        manifest.items.iter().find(|item| Path::new(&item.source).ends_with(relative))
    };
    let file = |path: &Path| match item(path)? {
        Item { kind: ItemKind::Symlink { target }, source, .. } => {
            let directory = Path::new(source).parent().unwrap_or(Path::new("/"));
            item(&directory.join(target)).filter(|item| item.size().is_some())
        }
        item => item.size().is_some().then_some(item),
    };
    let named = [(POD, named_by_pod as fn(&str) -> _), (MASTER_CONFIG, named_by_master_config)];
    let named = named.into_iter().filter_map(|(source, named_by)| {
        let path = named_by(&text(file(Path::new(source))?)?)?;
        file(&path)
    });
    let mut configurations: Vec<(&Item, String)> =
        named.filter_map(|item| Some((item, text(item)?))).collect();
    if configurations.is_empty() {
        let may_be_one = |item: &&Item| {
            EXTENSIONS.iter().any(|extension| item.source.ends_with(extension))
                && item.size().is_some_and(|size| size <= MAX_BYTES)
        };
        let files = manifest.files().map(|(item, ..)| item).filter(may_be_one).take(MAX_FILES);
        configurations.extend(files.filter_map(|item| Some((item, text(item)?))));
        configurations.retain(|(_, text)| is_configuration(text));
    }
    for (item, text) in configurations {
        match Keyring::parse(&text) {
            Ok(keys) => keyring.extend(keys),
            // The message has no part of the file but the names of keys.
            Err(error) => tracing::warn!("{}: cannot use {}: {error}", manifest.id(), item.source),
        }
    }
}
