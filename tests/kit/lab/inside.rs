//! Working on a running host as its root would: commands, files, packages.

use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::cmd::{Cmd, Output, Running};
use super::error::{Error, Result};
use super::host::Host;

/// A file to lay on a host. Missing folders above it are made, 0755 and root's.
pub struct HostFile {
    pub path: String,
    pub content: Vec<u8>,
    pub owner: &'static str,
    pub mode: u32,
}

impl HostFile {
    /// A file of root's.
    pub fn new(path: impl Into<String>, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), content: content.into(), owner: "root:root", mode }
    }

    /// `owner` is `user:group`, by their names on the host.
    pub fn owned_by(mut self, owner: &'static str) -> Self {
        self.owner = owner;
        self
    }
}

impl Host {
    /// Runs a shell line; any status but 0 is an error.
    pub fn run(&self, line: &str) -> Result<Output> {
        self.enter()?.args(["/bin/sh", "-c", line]).run()
    }

    /// Runs a shell line; the status is the caller's to judge.
    pub fn try_run(&self, line: &str) -> Result<Output> {
        self.enter()?.args(["/bin/sh", "-c", line]).output()
    }

    pub fn run_for(&self, line: &str, timeout: Duration) -> Result<Output> {
        self.enter()?.args(["/bin/sh", "-c", line]).timeout(timeout).run()
    }

    pub fn try_run_for(&self, line: &str, timeout: Duration) -> Result<Output> {
        self.enter()?.args(["/bin/sh", "-c", line]).timeout(timeout).output()
    }

    /// Leaves a shell line running on the host until the handle is dropped.
    pub fn spawn(&self, line: &str, stdout: Stdio) -> Result<Running> {
        self.enter()?.args(["/bin/sh", "-c", line]).spawn(stdout)
    }

    pub fn systemctl(&self, words: &str) -> Result<Output> {
        self.run_for(&format!("systemctl {words}"), Duration::from_secs(120))
    }

    pub fn read_file(&self, path: &str) -> Result<Vec<u8>> {
        Ok(self.enter()?.args(["cat", "--", path]).run()?.stdout)
    }

    pub fn write_file(&self, file: &HostFile) -> Result<()> {
        let (owner, group) = file.owner.split_once(':').unwrap_or((file.owner, file.owner));
        self.enter()?
            .args(["install", "-D", "-o", owner, "-g", group, "-m", &format!("{:04o}", file.mode)])
            .args(["/dev/stdin", &file.path])
            .stdin(file.content.clone())
            .run()
            .map(drop)
    }

    pub fn write_files(&self, files: &[HostFile]) -> Result<()> {
        files.iter().try_for_each(|file| self.write_file(file))
    }

    /// Copies a file of this machine to the host.
    pub fn push(&self, from: &Path, to: &str) -> Result<()> {
        let content = std::fs::read(from).map_err(Error::io(format!("reading {}", from.display())))?;
        self.write_file(&HostFile::new(to, 0o644, content))
    }

    /// A command line that goes on inside the host; the caller adds what to run there.
    pub(super) fn enter(&self) -> Result<Cmd> {
        let Some(leader) = self.cgroup.leader() else {
            return Err(Error::Refused(format!("{} is not running", self.name)));
        };
        Ok(Cmd::new("nsenter")
            .args(["--target", &leader.to_string()])
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--"]))
    }
}

/// One shell word, whatever is in it.
pub fn quote(word: &str) -> String {
    let mut quoted = String::from("'");
    for part in word.split_inclusive('\'') {
        match part.strip_suffix('\'') {
            Some(part) => {
                let _ = write!(quoted, r"{part}'\''");
            }
            None => quoted.push_str(part),
        }
    }
    quoted.push('\'');
    quoted
}
