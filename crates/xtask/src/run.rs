//! Runs a program in the workspace's root: its line is shown first, and named when it fails.

use std::env;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::{tools, workspace};

/// A command line of words, with whatever else the caller adds to it. The pinned tools come before what is installed.
pub fn command(line: &[&str]) -> Command {
    let mut command = Command::new(line.first().copied().unwrap_or_default());
    command.args(line.iter().skip(1)).current_dir(workspace::root()).stdin(Stdio::null());
    let inherited = env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(tools::programs()).chain(env::split_paths(&inherited));
    if let Ok(path) = env::join_paths(path) {
        command.env("PATH", path);
    }
    // What cargo says of this crate is not for a cargo started from here: ring's build script looks at it, and ring and all
    // that stands on it would be built anew by each in turns.
    for (name, _) in env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// Shows it, runs it, and wants it to succeed.
pub fn step(command: &mut Command) -> Result<()> {
    let line = shown(command);
    eprintln!("\n$ {line}");
    let status = command.status().map_err(|source| Error::Start { line: line.clone(), source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { line, status }) }
}

/// Whether it can be run and succeeds; what it prints is nobody's business.
pub fn succeeds(line: &[&str]) -> bool {
    let status = command(line).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// What it prints, if it succeeds.
pub fn output(line: &[&str]) -> Option<String> {
    let output = command(line).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
