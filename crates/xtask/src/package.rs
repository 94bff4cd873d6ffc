//! Both packages, in target/packages/.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::run::{command, step};
use crate::{setup, workspace};

pub struct Packages {
    pub deb: PathBuf,
    pub rpm: PathBuf,
}

/// Builds the release binary and both packages around it.
pub fn both() -> Result<Packages> {
    setup::for_packages()?;
    build()?;
    Ok(Packages {
        deb: pack(&["cargo", "deb", "--no-build", "--locked", "--package", "nightshift", "--output"], "deb")?,
        rpm: pack(&["cargo", "generate-rpm", "--package", "crates/nightshift", "--output"], "rpm")?,
    })
}

/// The binary, and what it writes about itself: man pages, completions, the message catalog.
fn build() -> Result<()> {
    step(&mut command(&["cargo", "build", "--release", "--locked", "--package", "nightshift"]))?;
    let generated = workspace::release().join("generated");
    if generated.exists() {
        fs::remove_dir_all(&generated).map_err(Error::io("remove", &generated))?;
    }
    let binary = workspace::release().join("nightshift");
    step(command(&[&binary.to_string_lossy(), "generate"]).arg(generated))
}

/// Runs what writes one package into the folder, where none of its kind is left from an earlier version.
fn pack(line: &[&str], extension: &str) -> Result<PathBuf> {
    let folder = workspace::packages();
    fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
    for old in of_kind(&folder, extension)? {
        fs::remove_file(&old).map_err(Error::io("remove", &old))?;
    }
    step(command(line).arg(&folder))?;
    let made = of_kind(&folder, extension)?.pop();
    made.ok_or_else(|| {
        Error::Missing(format!("`{}` left no .{extension} in {}", line.join(" "), folder.display()))
    })
}

fn of_kind(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(found)
}
