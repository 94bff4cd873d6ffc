//! Where the measurements keep their files.

use std::fs;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::workspace;

/// The directory of all measurements, on the disk of the build.
pub fn directory() -> PathBuf {
    workspace::root().join("target/bench")
}

/// An empty directory below it.
pub fn fresh(name: &str) -> Result<PathBuf> {
    let path = directory().join(name);
    if path.exists() {
        fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
    }
    fs::create_dir_all(&path).map_err(Error::io("make", &path))?;
    Ok(path)
}
