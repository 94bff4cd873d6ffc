//! Where things lie.

use std::path::{Path, PathBuf};

pub fn root() -> &'static Path {
    // This crate lies two folders below it.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// What a release build leaves; the packages' file lists call it `target/release`.
pub fn release() -> PathBuf {
    target().join("release")
}

/// Programs that the tests run beside those that are installed.
pub fn tools() -> PathBuf {
    target().join("tools")
}

pub fn packages() -> PathBuf {
    root().join("target/packages")
}

/// Where the demo's hosts keep what they made.
pub fn demo() -> PathBuf {
    target().join("demo")
}
