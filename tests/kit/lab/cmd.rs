//! Runs a shell tool to its end or its deadline, and reports line, status and stderr when it fails.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::error::{Error, Result};

const TIMEOUT: Duration = Duration::from_secs(30);
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One command line, with a timeout; runs with a small, fixed environment in a process group of its own.
pub struct Cmd {
    command: Command,
    stdin: Vec<u8>,
    timeout: Duration,
}

#[derive(Debug)]
pub struct Output {
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    /// What was printed, without the line end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

impl Cmd {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", PATH).env("HOME", "/root").env("LANG", "C.UTF-8").process_group(0);
        Self { command, stdin: Vec::new(), timeout: TIMEOUT }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs it; any status but 0 is an error.
    pub fn run(self) -> Result<Output> {
        let line = self.line();
        let output = self.output()?;
        if output.status == 0 {
            return Ok(output);
        }
        Err(Error::Failed { line, status: output.status, stderr: output.stderr.trim_end().to_owned() })
    }

    /// Runs it; the status is the caller's to judge. A signal's number is given as 128 + n, as shells do.
    pub fn output(mut self) -> Result<Output> {
        let line = self.line();
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io(format!("starting `{line}`")))?;
        let group = group_of(&child);
        if let Some(mut pipe) = child.stdin.take() {
            let bytes = self.stdin;
            // A command that ends without reading its input breaks the pipe: its status says what is the matter.
            thread::spawn(move || pipe.write_all(&bytes));
        }
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        let Ok(output) = ended.recv_timeout(self.timeout) else {
            // ESRCH: it ended in this very moment, which is as good as killed.
            let _ = kill_process_group(group, Signal::KILL);
            return Err(Error::TimedOut { line, after: self.timeout });
        };
        let output = output.map_err(Error::io(format!("waiting for `{line}`")))?;
        Ok(Output {
            status: (output.status.code()).unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts it and leaves it running, until it ends or the handle is dropped.
    pub fn spawn(self, stdout: Stdio) -> Result<Running> {
        self.detach(stdout, Stdio::null()).map(|child| Running { child })
    }

    /// Starts it and leaves it to itself.
    pub(super) fn detach(mut self, stdout: Stdio, stderr: Stdio) -> Result<Child> {
        let line = self.line();
        self.command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(Error::io(format!("starting `{line}`")))
    }

    fn line(&self) -> String {
        let mut words = vec![self.command.get_program().to_string_lossy()];
        words.extend(self.command.get_args().map(OsStr::to_string_lossy));
        words.join(" ")
    }
}

/// A command left running; dropping it kills its process group.
pub struct Running {
    pub child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process_group(group_of(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn group_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Asks `look` every few milliseconds until it answers, or the deadline has passed.
pub fn poll<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> std::result::Result<T, String>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(last) if start.elapsed() >= within => {
                return Err(Error::Deadline { what: what.to_owned(), after: within, last });
            }
            Err(_) => thread::sleep(Duration::from_millis(25)),
        }
    }
}

/// Does the same for every item side by side, and gives the results in the items' order.
pub fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (items.iter()).map(|item| scope.spawn(move || work(item))).collect();
        (threads.into_iter())
            .map(|thread| {
                (thread.join())
                    .unwrap_or_else(|_| Err(Error::Refused("a thread of the lab panicked".to_owned())))
            })
            .collect()
    })
}
