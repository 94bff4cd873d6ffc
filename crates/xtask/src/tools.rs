//! Programs that cargo does not bring: those that a list names, installed into a directory of `target/tools` and into nothing else.
//!
//! They come prebuilt from the Python package index, because no test run should have to compile a program before it can start.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::run::{command, step};
use crate::workspace;

/// Names, versions and hashes, in pip's format of a requirements file. A further tool is a further entry there.
const LIST: &str = "crates/xtask/tools.txt";
/// Ansible, and what it imports.
const ANSIBLE: &str = "crates/xtask/ansible.txt";
/// What links the packages' program with an old C library. It is 90 MB, so only `cargo xtask package` installs it.
const LINKER: &str = "crates/xtask/linker.txt";

/// What is installed: a copy of the list that it was installed from.
const INSTALLED: &str = "tools.txt";

/// Installs all of them, unless what is installed is what the list names.
pub fn ensure() -> Result<()> {
    install(LIST, &workspace::pinned_tools())
}

/// Installs Ansible beside the other tools: `target/tools/ansible`.
pub fn ansible() -> Result<()> {
    install(ANSIBLE, &workspace::tools().join("ansible"))
}

/// Installs the linker beside the other tools: `target/tools/linker`.
pub fn linker() -> Result<()> {
    install(LINKER, &workspace::linker())
}

fn install(of: &'static str, directory: &Path) -> Result<()> {
    let list_path = workspace::root().join(of);
    let list = fs::read_to_string(&list_path).map_err(Error::io("read", &list_path))?;
    if fs::read_to_string(directory.join(INSTALLED)).is_ok_and(|installed| installed == list) {
        return Ok(());
    }
    // The rename is the last step, so an interrupted installation never has the final name.
    let partial = directory.with_extension("partial");
    remove(&partial)?;
    let mut pip = command(&["python3", "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]);
    pip.args(["--only-binary", ":all:", "--requirement", of, "--target"]).arg(&partial);
    // Neither is about an installation into a directory of its own.
    pip.env("PIP_ROOT_USER_ACTION", "ignore").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    step(&mut pip).map_err(|source| Error::Tools { list: of, source: Box::new(source) })?;
    let installed = partial.join(INSTALLED);
    fs::write(&installed, list).map_err(Error::io("write", &installed))?;
    remove(directory)?;
    fs::rename(&partial, directory).map_err(Error::io("rename", partial))
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).map_err(Error::io("remove", directory))?;
    }
    Ok(())
}
