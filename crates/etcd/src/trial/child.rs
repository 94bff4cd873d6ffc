//! Processes that do not outlive whom they work for, however that ends.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

/// This program, even where an upgrade has put another one in its place.
pub const OWN_PROGRAM: &str = "/proc/self/exe";
/// How often a process is looked at whether it has ended.
const GLANCE: Duration = Duration::from_millis(20);
/// What programs are given of the environment: an `ETCD_` variable would configure the scratch etcd.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error("this process cannot be tied to the one that started it")]
    Tie(#[source] io::Error),
    #[error("the process that started this one has ended already")]
    Orphan,
    #[error("{program} cannot be run")]
    Exec { program: String, source: io::Error },
    #[error("there is no program to run")]
    Nothing,
}

/// Has this process told to stop when its parent ends. `parent` is who it should be: it may have ended before.
pub fn follow_parent(parent: u32) -> Result<(), FollowError> {
    follow(parent, Signal::TERM)
}

fn follow(parent: u32, signal: Signal) -> Result<(), FollowError> {
    rustix::process::set_parent_process_death_signal(Some(signal))
        .map_err(|error| FollowError::Tie(error.into()))?;
    let is_there = |pid: Pid| u32::try_from(pid.as_raw_nonzero().get()) == Ok(parent);
    if rustix::process::getppid().is_some_and(is_there) { Ok(()) } else { Err(FollowError::Orphan) }
}

/// Becomes a program that is killed when the parent ends; returns only where that fails.
pub fn become_program(parent: u32, argv: &[OsString]) -> FollowError {
    let Some((program, arguments)) = argv.split_first() else { return FollowError::Nothing };
    if let Err(error) = follow(parent, Signal::KILL) {
        return error;
    }
    let source = Command::new(program).args(arguments).exec();
    FollowError::Exec { program: program.to_string_lossy().into_owned(), source }
}

/// A program that is killed, and gone, when this is dropped.
#[derive(Debug)]
pub struct Child {
    child: std::process::Child,
}

impl Child {
    /// Starts a program of the tools; what it prints goes to `log`.
    pub fn start(program: &Path, arguments: &[OsString], log: &File) -> io::Result<Self> {
        let child = Command::new(OWN_PROGRAM)
            .arg0("nightshift")
            .args(["drill-etcd", "--parent", &std::process::id().to_string(), "--"])
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs([("PATH", PATH), ("ETCDCTL_API", "3"), ("LC_ALL", "C.UTF-8")])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .spawn()?;
        Ok(Self { child })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    pub async fn end(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nothing that a drill starts has anything to put in order: its folder goes as well.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
