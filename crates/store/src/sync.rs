//! Every fsync of this crate and of those above it.
//!
//! A build with `--cfg nightshift_no_sync` syncs nothing, and `tests/power_cut.rs` must fail with it. It is a cfg and not a
//! feature, because another crate could switch a feature on in a release.

use std::fs::File;
use std::io;
use std::path::Path;

pub fn sync_file(file: &File) -> io::Result<()> {
    if cfg!(nightshift_no_sync) {
        return Ok(());
    }
    #[cfg(test)]
    log::add(file);
    file.sync_all()
}

/// Makes the entries of a directory durable: what was created in it, renamed into it or removed from it.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(nightshift_no_sync) {
        return Ok(());
    }
    let directory = File::open(directory)?;
    #[cfg(test)]
    log::add(&directory);
    directory.sync_all()
}

#[cfg(test)]
pub(crate) use log::synced;

/// What this thread has synced, in order, so that a unit test can check it.
#[cfg(test)]
mod log {
    use std::cell::RefCell;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt as _;

    thread_local! {
        static SYNCED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }

    pub(crate) fn add(file: &File) {
        if let Ok(metadata) = file.metadata() {
            SYNCED.with_borrow_mut(|synced| synced.push(metadata.ino()));
        }
    }

    /// The inodes that were synced.
    pub(crate) fn synced() -> Vec<u64> {
        SYNCED.with_borrow(Clone::clone)
    }
}
