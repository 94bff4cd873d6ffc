//! In tests: an act that is killed before its n-th change of the disk.

use std::cell::Cell;
use std::io;
use std::path::Path;

use nightshift_store::{IoContext as _, StoreError};

thread_local! {
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Fails once the given number of changes was made, and from then on: a killed process changes nothing more.
pub fn point(path: &Path) -> Result<(), StoreError> {
    match LEFT.get() {
        None => Ok(()),
        Some(0) => Err(io::Error::other("killed")).on("continue at", path),
        Some(left) => {
            LEFT.set(Some(left - 1));
            Ok(())
        }
    }
}

/// Runs something that is killed after so many changes. Returns whether it was.
pub fn after<T>(changes: usize, act: impl FnOnce() -> T) -> (bool, T) {
    LEFT.set(Some(changes));
    let result = act();
    let killed = LEFT.get() == Some(0);
    LEFT.set(None);
    (killed, result)
}
