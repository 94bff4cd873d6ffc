//! The members of the workspace and the files where their own code begins.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::Error;

/// A member of the workspace.
#[derive(Clone, Debug, Deserialize)]
pub struct Package {
    pub name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Clone, Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
    src_path: PathBuf,
}

impl Package {
    /// The directory of its Cargo.toml.
    pub fn directory(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// The name by which its program refers to its own library.
    pub fn library(&self) -> Option<String> {
        self.roots().find(|target| target.kind != ["bin"]).map(|target| target.name.replace('-', "_"))
    }

    /// The first file of the library and of each program: tests, benches, examples and build scripts are left out.
    pub fn root_files(&self) -> impl Iterator<Item = &Path> {
        self.roots().map(|target| target.src_path.as_path())
    }

    fn roots(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| target.kind == ["lib"] || target.kind == ["bin"])
    }
}

/// The directory of the workspace.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// Every member, also one that has tests alone.
pub fn packages() -> Result<Vec<Package>, Error> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .map_err(Error::Cargo)?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).map_err(|source| Error::Metadata {
        printed: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        source,
    })?;
    let mut packages = metadata.packages;
    packages.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(packages)
}
