//! The program of the packages: it runs on every distribution from EL7 on, names what it was built of, and is the same
//! in every directory where it is built.

use std::env::{self, consts};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kit::lab::quote;

use crate::error::{Error, Result};
use crate::run::{command, step};
use crate::workspace;

/// EL7's.
pub const OLDEST_GLIBC: &str = "2.17";

/// Compiled once, because the package index has no prebuilt ones. The versions pin their own lock files.
const COMPILED: &[(&str, &str)] = &[("cargo-auditable", "0.7.7"), ("auditable2cdx", "0.1.0")];

/// Builds the source of `root` into `target`.
pub fn build(root: &Path, target: &Path) -> Result<PathBuf> {
    for (name, version) in COMPILED {
        compile(name, version)?;
    }
    let triple = format!("{}-unknown-linux-gnu", consts::ARCH);
    let mut build = with_linker(&["cargo", "auditable", "zigbuild", "--release", "--locked"]);
    build.args(["--package", "nightshift", "--target", &format!("{triple}.{OLDEST_GLIBC}")]);
    // Paths of this machine would make two builds differ.
    let (cargo, linker) = (cargo_home()?, workspace::linker());
    // Of several that match, the last one counts.
    let remapped = [(root, "/nightshift"), (target, "/target"), (&*cargo, "/cargo"), (&*linker, "/linker")];
    let rust = remapped.map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    let c = remapped.map(|(from, to)| format!("-ffile-prefix-map={}={to}", from.display()));
    build.env("RUSTC_WRAPPER", wrapper(target, &rust)?).env("CFLAGS", c.join(" "));
    build.env("CARGO_TARGET_DIR", target).current_dir(root);
    step(&mut build)?;
    Ok(target.join(triple).join("release/nightshift"))
}

/// A program that adds flags to each call of rustc. Flags of cargo's are only for what is built for the target: not for procedural
/// macros, and a path in one of those changes the hash of each crate that uses it.
fn wrapper(target: &Path, flags: &[String]) -> Result<PathBuf> {
    let quoted: Vec<String> = flags.iter().map(|flag| quote(flag)).collect();
    let path = target.join("rustc-with-flags");
    fs::create_dir_all(target).map_err(Error::io("make", target))?;
    let script = format!("#!/bin/sh\nexec \"$@\" {}\n", quoted.join(" "));
    fs::write(&path, script).map_err(Error::io("write", &path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(Error::io("chmod", &path))?;
    Ok(path)
}

/// What the program says that it was built of, as CycloneDX describes it.
pub fn components(program: &Path) -> Result<String> {
    let line = ["auditable2cdx", &program.to_string_lossy()];
    let listed =
        with_linker(&line).output().map_err(|source| Error::Start { line: line.join(" "), source })?;
    if !listed.status.success() {
        return Err(Error::Failed { line: line.join(" "), status: listed.status });
    }
    Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
}

fn compile(name: &str, version: &str) -> Result<()> {
    let root = workspace::linker();
    // cargo leaves this list of what it has installed.
    let installed = fs::read_to_string(root.join(".crates.toml")).unwrap_or_default();
    if installed.contains(&format!("\"{name} {version} ")) {
        return Ok(());
    }
    let mut install = command(&["cargo", "install", "--locked", "--quiet", "--version", version, name]);
    step(install.arg("--root").arg(root))
}

/// A command line that finds zig, cargo-zigbuild and the compiled tools.
fn with_linker(line: &[&str]) -> Command {
    let mut command = command(line);
    let inherited = env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(workspace::linker().join("bin")).chain(env::split_paths(&inherited));
    if let Ok(path) = env::join_paths(path) {
        command.env("PATH", path);
    }
    command.env("CARGO_ZIGBUILD_ZIG_PATH", workspace::linker().join("ziglang/zig"));
    command
}

fn cargo_home() -> Result<PathBuf> {
    let set = env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .ok_or_else(|| Error::Missing("neither CARGO_HOME nor HOME is set".to_owned()))
}
