//! Programs that this host runs: their time and their output are bounded, and none is left behind.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nightshift_core::secret::masked_command;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process_group};

/// How often a running program is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Of a program's standard error output, the last bytes are kept.
const MAX_ERROR_BYTES: usize = 4096;
/// The maximum length of a program's own explanation in a message, in characters.
const MAX_EXPLANATION_LEN: usize = 400;

#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("cannot run `{command}`")]
    Start { command: String, source: io::Error },
    #[error("cannot read the output of `{command}`")]
    Read { command: String, source: io::Error },
    #[error("`{command}` was stopped after {} s, its time limit", .after.as_secs())]
    TimedOut { command: String, after: Duration },
    #[error("`{command}` was stopped because it printed more than {max} bytes")]
    TooMuchOutput { command: String, max: usize },
    #[error("`{command}` failed ({status}): {explanation}")]
    Failed { command: String, status: ExitStatus, explanation: String },
}

impl ProcessError {
    /// Whether the program is not installed.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Start { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The limits of one program. Beyond them it is killed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub time: Duration,
    /// Of standard output, in bytes.
    pub output: usize,
}

/// Runs a program to its end, and returns what it printed if it succeeded. Its standard input is empty. Blocks.
pub fn output(command: &mut Command, limits: Limits) -> Result<Vec<u8>, ProcessError> {
    let text = command_line(command);
    let until = Instant::now() + limits.time;
    let mut child = Child::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
        .map_err(|source| ProcessError::Start { command: text.clone(), source })?;
    let read = |source| ProcessError::Read { command: text.clone(), source };
    let mut stdout = Pipe::new(child.process.stdout.take()).map_err(read)?;
    let mut stderr = Pipe::new(child.process.stderr.take()).map_err(read)?;
    let mut ended = None;
    let status = loop {
        // Before the reading: what it wrote before its end is in the pipes.
        if ended.is_none() {
            ended = child.ended().map_err(read)?;
        }
        let more = stdout.read().map_err(read)? | stderr.read().map_err(read)?;
        stderr.keep_last(MAX_ERROR_BYTES);
        if stdout.bytes.len() > limits.output {
            return Err(ProcessError::TooMuchOutput { command: text, max: limits.output });
        }
        if let Some(status) = ended.filter(|_| !more) {
            break status;
        }
        if Instant::now() >= until {
            return Err(ProcessError::TimedOut { command: text, after: limits.time });
        }
        if !more {
            thread::sleep(POLL_INTERVAL);
        }
    };
    if status.success() {
        return Ok(stdout.bytes);
    }
    let explanation = explanation(&String::from_utf8_lossy(&stderr.bytes));
    Err(ProcessError::Failed { command: text, status, explanation })
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    masked_command(&words.map(|word| word.to_string_lossy()).collect::<Vec<_>>())
}

/// What a program printed about its failure: the lines that say so in etcd's programs, else the end of all it printed.
pub fn explanation(printed: &str) -> String {
    let fatal = ["\"level\":\"fatal\"", "\"level\":\"panic\""];
    let is_error = |line: &&str| line.starts_with("Error:") || fatal.iter().any(|level| line.contains(level));
    let is_panic = |line: &&str| line.starts_with("panic:") || line.starts_with("fatal error:");
    let line = printed.lines().rfind(is_error).or_else(|| printed.lines().find(is_panic));
    let text = line.unwrap_or(printed).split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() {
        return "it printed nothing".to_owned();
    }
    let surplus = text.chars().count().saturating_sub(MAX_EXPLANATION_LEN);
    match line {
        Some(_) => text.chars().take(MAX_EXPLANATION_LEN).collect(),
        None => text.chars().skip(surplus).collect(),
    }
}

/// A running program. It is killed, with everything that it started, when this is dropped.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    ended: bool,
}

impl Child {
    /// Starts a program with an empty standard input.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let process = command.stdin(Stdio::null()).process_group(0).spawn()?;
        Ok(Self { process, ended: false })
    }

    /// Its status, if it has ended. What it left in the background is killed then.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.process.try_wait()?;
        if status.is_some() && !self.ended {
            self.ended = true;
            self.kill_group();
        }
        Ok(status)
    }

    pub async fn end(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn kill_group(&self) {
        // An error means that none of them is left.
        let _none_left = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Once it was waited for, its number may belong to another process.
        if !self.ended {
            self.kill_group();
            let _reaped = self.process.wait();
        }
    }
}

/// What a program prints, read without waiting: a process that it left behind may keep the pipe open.
struct Pipe {
    source: Option<File>,
    bytes: Vec<u8>,
}

impl Pipe {
    fn new(source: Option<impl Into<OwnedFd>>) -> io::Result<Self> {
        let source = source.map(Into::into);
        if let Some(source) = &source {
            fcntl_setfl(source, fcntl_getfl(source)? | OFlags::NONBLOCK)?;
        }
        Ok(Self { source: source.map(File::from), bytes: Vec::new() })
    }

    /// Reads what is there; false if there is nothing now, or the pipe is closed.
    fn read(&mut self) -> io::Result<bool> {
        let Some(source) = &mut self.source else { return Ok(false) };
        let mut buffer = [0; 16 << 10];
        match source.read(&mut buffer) {
            Ok(0) => {
                self.source = None;
                Ok(false)
            }
            Ok(read) => {
                self.bytes.extend_from_slice(&buffer[..read]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn keep_last(&mut self, max: usize) {
        let surplus = self.bytes.len().saturating_sub(max);
        self.bytes.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Limits = Limits { time: Duration::from_millis(300), output: 100_000 };
    const LONG: Limits = Limits { time: Duration::from_secs(30), ..SHORT };

    fn shell(script: &str, limits: Limits) -> Result<Vec<u8>, ProcessError> {
        output(Command::new("sh").args(["-c", script]), limits)
    }

    #[test]
    fn the_whole_output_of_a_program_is_returned() {
        let printed = shell("seq 10000; exec seq 10001 15000", LONG).unwrap();
        assert!(printed.starts_with(b"1\n2\n") && printed.ends_with(b"\n15000\n"));
    }

    #[test]
    fn a_program_that_fails_explains_itself_in_the_error() {
        let error = shell("echo one >&2; echo two >&2; exit 3", LONG).unwrap_err().to_string();
        assert!(error.ends_with("failed (exit status: 3): one two"), "{error}");
        let error = output(&mut Command::new("/nonexistent/rpm"), LONG).unwrap_err();
        assert!(matches!(error, ProcessError::Start { .. }), "{error}");
    }

    #[test]
    fn a_program_that_hangs_or_prints_without_end_is_killed_with_all_that_it_started() {
        let begun = Instant::now();
        for script in ["sleep 60 & sleep 60", "yes >&2", "sleep 60"] {
            let error = shell(script, SHORT).unwrap_err();
            assert!(matches!(error, ProcessError::TimedOut { .. }), "{script}: {error}");
        }
        let error = shell("yes", LONG).unwrap_err();
        assert!(matches!(error, ProcessError::TooMuchOutput { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_process_in_the_background_is_not_waited_for() {
        let begun = Instant::now();
        assert_eq!(shell("echo done; sleep 60 &", LONG).unwrap(), b"done\n");
        // One that has left the process group keeps the pipe open.
        assert_eq!(shell("echo done; setsid sleep 1 &", LONG).unwrap(), b"done\n");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn the_line_with_the_error_is_found_among_the_others() {
        for (printed, expected) in [
            ("{\"level\":\"info\"}\nError: expected sha256\nusage\n", "Error: expected sha256"),
            ("panic: a page\n\ngoroutine 1\nmain.go:7\n", "panic: a page"),
            ("one\n two\n\n", "one two"),
            ("", "it printed nothing"),
        ] {
            assert_eq!(explanation(printed), expected);
        }
        let long = format!("{}end", "x".repeat(1000));
        assert!(explanation(&long).len() == MAX_EXPLANATION_LEN && explanation(&long).ends_with("end"));
    }
}
