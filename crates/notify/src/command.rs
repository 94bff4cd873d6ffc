//! A program of the operator's: it gets neither a shell nor this process's environment, and nothing that it started is left when its
//! time is over.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::FutureExt as _;
use nightshift_core::text::Text;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

/// How much of what it prints is copied to the journal, in bytes.
const MAX_OUTPUT: usize = 64 << 10;
/// How much of its standard error is searched for the first line, in bytes.
const MAX_FIRST_LINE: usize = 4 << 10;
/// The time in which what it printed is read after its end: a process that has left its group may have the pipe open.
const READ_GRACE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Program<'a> {
    pub argv: &'a [String],
    pub environment: Vec<(&'static str, String)>,
    /// What is on its standard input.
    pub input: &'a [u8],
    pub timeout: Duration,
    /// Copy what it prints to this process's standard error, which is the journal of the unit.
    pub logged: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("the command is empty; set `argv`")]
    Empty,
    #[error("cannot run {program}")]
    Start { program: String, source: io::Error },
    #[error("{program} {}{printed}", how(*status))]
    Failed { program: String, status: ExitStatus, printed: FirstLine },
    #[error("{program} did not end within {} s, and was killed{printed}", after.as_secs())]
    Slow { program: String, after: Duration, printed: FirstLine },
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => format!("ended with {status}"),
    }
}

/// The first line on its standard error, if there is one.
#[derive(Debug, Default)]
pub struct FirstLine(Option<Text>);

impl fmt::Display for FirstLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |line| write!(f, ": {line}"))
    }
}

/// Runs a program to its end.
pub async fn run(program: &Program<'_>) -> Result<(), ProgramError> {
    let (path, words) = program.argv.split_first().ok_or(ProgramError::Empty)?;
    let name = path.rsplit('/').next().unwrap_or(path).to_owned();
    let mut output =
        Output { left: Cell::new(if program.logged { MAX_OUTPUT } else { 0 }), first: Vec::new() };
    let running = to_end(program, path, words, &mut output);
    let ended = timeout(program.timeout, running).await;
    let printed = output.first_line();
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(ProgramError::Failed { program: name, status, printed }),
        Ok(Err(source)) => Err(ProgramError::Start { program: name, source }),
        Err(_) => Err(ProgramError::Slow { program: name, after: program.timeout, printed }),
    }
}

async fn to_end(
    program: &Program<'_>,
    path: &str,
    words: &[String],
    output: &mut Output,
) -> io::Result<ExitStatus> {
    let piped = |is_read: bool| if is_read { Stdio::piped() } else { Stdio::null() };
    let mut child = Command::new(path)
        .args(words)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")
        .envs(program.environment.iter().map(|(key, value)| (*key, value)))
        .current_dir("/")
        .stdin(piped(!program.input.is_empty()))
        .stdout(piped(program.logged))
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    // Declared after the child, so that it is dropped, and its group killed, before the child is waited for.
    let group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let writing = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input ends as it likes.
            let _unread = stdin.write_all(program.input).await;
        }
    };
    let Output { left, first } = output;
    let left = &*left;
    let piping = async { tokio::join!(writing, copy(stdout, left, None), copy(stderr, left, Some(first))) };
    let piping = piping.fuse();
    tokio::pin!(piping);
    let mut piped = false;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = &mut piping, if !piped => piped = true,
        }
    };
    // What it left in the background.
    drop(group);
    if !piped {
        let _rest = timeout(READ_GRACE, piping).await;
    }
    Ok(status)
}

/// Everything that a program started and that stayed in its process group; killed when this is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // An error means that none of them is left.
            let _none_left = kill_process_group(group, Signal::KILL);
        }
    }
}

struct Output {
    /// How many bytes may still be copied.
    left: Cell<usize>,
    /// The beginning of standard error.
    first: Vec<u8>,
}

impl Output {
    fn first_line(&self) -> FirstLine {
        let text = String::from_utf8_lossy(&self.first);
        FirstLine(text.lines().map(str::trim).find(|line| !line.is_empty()).map(Text::new))
    }
}

/// Reads to the end, so that the program never waits for its reader, and copies as much as may be.
async fn copy(from: Option<impl AsyncRead + Unpin>, left: &Cell<usize>, mut first: Option<&mut Vec<u8>>) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 8 << 10];
    // An unreadable pipe has ended.
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let read = buffer.get(..read).unwrap_or_default();
        if let Some(first) = &mut first {
            let space = MAX_FIRST_LINE.saturating_sub(first.len());
            first.extend_from_slice(read.get(..space).unwrap_or(read));
        }
        let before = left.get();
        let copied = read.get(..before).unwrap_or(read);
        left.set(before - copied.len());
        let end: &[u8] =
            if before > 0 && left.get() == 0 { b"\n(the rest of the output is not shown)\n" } else { b"" };
        // Without a journal, the program runs anyway.
        let mut journal = io::stderr().lock();
        let _lost = journal.write_all(copied).and_then(|()| journal.write_all(end));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    async fn shell(script: &str, input: &str, seconds: u64) -> Result<(), String> {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        let timeout = Duration::from_secs(seconds);
        let environment = vec![("NAME", "a value; with $signs".to_owned())];
        let program = Program { argv: &argv, environment, input: input.as_bytes(), timeout, logged: false };
        run(&program).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_program_gets_its_input_and_variables_and_nothing_else_and_its_first_line_is_the_reason() {
        assert_eq!(
            shell("test \"$NAME\" = 'a value; with $signs' && test \"$(cat)\" = in", "in", 30).await,
            Ok(())
        );
        assert_eq!(
            shell("test -z \"$HOME$USER\" && test \"$(wc -c)\" -eq 0 && test \"$(pwd)\" = /", "", 30).await,
            Ok(())
        );
        let failed = shell("echo >&2; echo ' one ' >&2; echo two >&2; exit 3", "", 30).await;
        assert_eq!(failed, Err("sh ended with exit code 3: one".to_owned()));
        assert_eq!(shell("kill -9 $$", "", 30).await, Err("sh was ended by signal 9".to_owned()));
    }

    #[tokio::test]
    async fn a_program_that_prints_much_hangs_or_leaves_others_behind_ends_in_time() {
        let begun = Instant::now();
        // Neither its input nor its output is read by the other side at that moment.
        assert_eq!(
            shell("head -c 10000000 /dev/zero >&2; exec cat > /dev/null", &"x".repeat(1 << 20), 60).await,
            Ok(())
        );
        let slow = shell("echo waits >&2; sleep 60 & sleep 60", "", 1).await;
        assert_eq!(slow, Err("sh did not end within 1 s, and was killed: waits".to_owned()));
        assert_eq!(shell("sleep 60 &", "", 30).await, Ok(()));
        let failed = shell("sleep 60 & echo broken >&2; exit 3", "", 30).await;
        assert_eq!(failed, Err("sh ended with exit code 3: broken".to_owned()));
        // One that has left the process group keeps the pipe open.
        assert_eq!(shell("setsid sleep 20 &", "", 30).await, Ok(()));
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
