//! Runs a program in the workspace's root: its line is shown first, and named when it fails.

use std::env;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::workspace;

/// A command line of words, with whatever else the caller adds to it. The pinned tools come before what is installed.
pub fn command(line: &[&str]) -> Command {
    let mut command = Command::new(line.first().copied().unwrap_or_default());
    command.args(line.iter().skip(1)).current_dir(workspace::root()).stdin(Stdio::null());
    let inherited = env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(workspace::pinned_programs()).chain(env::split_paths(&inherited));
    if let Ok(path) = env::join_paths(path) {
        command.env("PATH", path);
    }
    // cargo describes this crate in the environment. A cargo started from here must not see that: ring's build script reads
    // it, so ring and all that depends on it would be rebuilt each time.
    for (name, _) in env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// Prints its line, and returns it.
pub fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
    eprintln!("\n$ {line}");
    line
}

/// Shows it, runs it, and fails if it does.
pub fn step(command: &mut Command) -> Result<()> {
    let line = show(command);
    let status = command.status().map_err(|source| Error::Start { line: line.clone(), source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { line, status }) }
}

/// Whether it can be run and succeeds; its output is dropped.
pub fn succeeds(line: &[&str]) -> bool {
    let status = command(line).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// What it prints, if it succeeds.
pub fn output(line: &[&str]) -> Option<String> {
    let output = command(line).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
