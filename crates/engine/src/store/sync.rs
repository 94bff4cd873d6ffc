//! Every fsync of the store, in one place: a build with these made no-ops must make the suite fail.

use std::fs::File;
use std::io;
use std::path::Path;

pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    if cfg!(nightshift_no_sync) {
        return Ok(());
    }
    file.sync_all()
}

/// Makes a folder's entries durable: what was created in it, renamed into it or removed from it.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(nightshift_no_sync) {
        return Ok(());
    }
    File::open(folder)?.sync_all()
}
