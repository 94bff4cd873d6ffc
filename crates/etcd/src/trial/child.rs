//! etcd's programs as child processes that do not outlive the process they work for.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal};

/// This program, even if an upgrade has replaced its file.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error("cannot tie this process to its parent")]
    Tie(#[source] io::Error),
    #[error("cannot detach this process from the terminal")]
    Detach(#[source] io::Error),
    #[error("the parent of this process has already ended")]
    Orphan,
    #[error("cannot run {program}")]
    Exec { program: String, source: io::Error },
    #[error("no program to run")]
    Nothing,
}

/// Makes the kernel send SIGTERM to this process when its parent ends. `parent` is the expected parent: it may have ended
/// already.
pub fn follow_parent(parent: u32) -> Result<(), FollowError> {
    follow(parent, Signal::TERM)
}

/// Starts a session of its own: no Ctrl+C ends this process before it has cleaned up, and etcd, which it starts, has no access to
/// the operator's terminal.
pub fn leave_terminal() -> Result<(), FollowError> {
    rustix::process::setsid().map(drop).map_err(|error| FollowError::Detach(error.into()))
}

fn follow(parent: u32, signal: Signal) -> Result<(), FollowError> {
    rustix::process::set_parent_process_death_signal(Some(signal))
        .map_err(|error| FollowError::Tie(error.into()))?;
    let is_parent = |pid: Pid| u32::try_from(pid.as_raw_nonzero().get()) == Ok(parent);
    if rustix::process::getppid().is_some_and(is_parent) { Ok(()) } else { Err(FollowError::Orphan) }
}

/// Becomes a program that is killed when the parent ends. Returns only if that fails.
pub fn become_program(parent: u32, argv: &[OsString]) -> FollowError {
    let Some((program, arguments)) = argv.split_first() else { return FollowError::Nothing };
    if let Err(error) = follow(parent, Signal::KILL) {
        return error;
    }
    let source = Command::new(program).args(arguments).exec();
    FollowError::Exec { program: program.to_string_lossy().into_owned(), source }
}

/// How etcd's programs are started. In both ways they are killed when their owner drops them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launch {
    /// By way of `nightshift drill-etcd`, which has the kernel kill them if this process is killed. Only nightshift itself can
    /// do that.
    Tied,
    Direct,
}

impl Launch {
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = match self {
            Self::Direct => Command::new(program),
            Self::Tied => {
                let mut command = Command::new(OWN_PROGRAM);
                command
                    .arg0("nightshift")
                    .args(["drill-etcd", "--parent", &std::process::id().to_string(), "--"])
                    .arg(program);
                command
            }
        };
        // An `ETCD_` variable of this process would configure the scratch etcd. Before 3.5 etcd refuses to run on arm64
        // without the last one (etcdmain/etcd.go, checkSupportArch); it ignores variables that it does not know.
        command.env_clear().envs([
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("ETCDCTL_API", "3"),
            ("LC_ALL", "C.UTF-8"),
            ("ETCD_UNSUPPORTED_ARCH", "arm64"),
        ]);
        command
    }

    /// A command whose output goes to `log`.
    pub(super) fn logged(self, program: &Path, log: &File) -> io::Result<Command> {
        let mut command = self.command(program);
        command.stdout(log.try_clone()?).stderr(log.try_clone()?);
        Ok(command)
    }
}
