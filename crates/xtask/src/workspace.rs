//! The directories of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

pub fn root() -> &'static Path {
    // This crate is two directories below it.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// What a release build leaves.
pub fn release() -> PathBuf {
    target().join("release")
}

/// Programs that the tests run beside those that are installed.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// What `tools.txt` lists, installed.
pub fn pinned_tools() -> PathBuf {
    tools().join("pinned")
}

/// The directory with its programs; `run::command` puts it first in PATH.
pub fn pinned_programs() -> PathBuf {
    pinned_tools().join("bin")
}

/// What `linker.txt` lists, installed.
pub fn linker() -> PathBuf {
    tools().join("linker")
}

pub fn packages() -> PathBuf {
    root().join("target/packages")
}

/// The hosts of the demo keep their files here.
pub fn demo() -> PathBuf {
    target().join("demo")
}

/// Makes a directory that has nothing in it.
pub fn emptied(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(Error::io("remove", folder))?;
    }
    fs::create_dir_all(folder).map_err(Error::io("make", folder))
}
