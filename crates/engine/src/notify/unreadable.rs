//! Files of notifications that cannot be read: they are set aside, so that they stop nothing, and reported until an operator removes them.

use std::path::{Path, PathBuf};

use nightshift_core::chain;
use nightshift_core::settings::Settings;
use nightshift_store::{StoreError, UNREADABLE, aside, list, set_aside_unreadable};
use serde::de::DeserializeOwned;

/// The maximum length of a file of a queue: a notice has at most a dozen lines, and 200 subjects.
pub(super) const MAX_LEN: u64 = 256 << 10;

/// Sets a file aside that is not such a value. Returns a line for the journal.
pub(super) fn set_aside<T: DeserializeOwned>(path: &Path, most: u64) -> Result<Option<String>, StoreError> {
    let unreadable = set_aside_unreadable::<T>(path, most)?;
    Ok(unreadable.map(|error| format!("{}; it was moved to {}", chain(&error), aside(path).display())))
}

/// Those that were set aside and not removed yet.
pub fn left(settings: &Settings) -> Vec<PathBuf> {
    let notices = settings.paths.notices();
    let queues = settings.notify.iter().map(|target| notices.join(target.name.as_str()));
    let directories = std::iter::once(notices.clone()).chain(queues);
    // Without permission to read the state, nothing is known of it.
    let entries = directories.flat_map(|directory| list(&directory).unwrap_or_default());
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == UNREADABLE)).collect()
}
