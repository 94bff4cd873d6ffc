//! One call: a request to a machine and its replies.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use nightshift_core::restore::act::{Act, FORMAT, MAX_REPLY, Outcome, Reply, Request};
use nightshift_core::restore::id::PlanId;
use nightshift_core::restore::machine::Machine;
use nightshift_core::text::{InvalidJson, one_line};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::login::{Login, NOT_CONNECTED};

/// The longest act is an extra night. A connection that is dead ends much earlier, by ssh's own timeouts.
const DEADLINE: Duration = Duration::from_secs(3 * 60 * 60);
/// A host whose sshd lives, but whose shell, file systems or daemon hang. More than the daemon may take for a request (70 s).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// How many machines are called at the same time.
pub const PARALLEL: usize = 16;
/// Bytes of ssh's error output that are shown.
const MAX_ERRORS: u64 = 4 << 10;

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// ssh could not connect, or the connection broke off.
    #[error("cannot reach {address} with ssh: {reason}")]
    NotConnected { address: String, reason: String },
    #[error("cannot run ssh")]
    Ssh(#[source] io::Error),
    #[error("cannot read {}", .path.display())]
    Content { path: PathBuf, source: io::Error },
    #[error("nightshift on {address} ended without a result ({status}): {reason}")]
    NoResult { address: String, status: ExitStatus, reason: String },
    #[error("{address} sent an invalid reply")]
    Invalid { address: String, source: InvalidJson },
    #[error("{0}")]
    Failed(String),
    #[error("no result within {} h; what was started there may still run: see `nightshift status` on that host", DEADLINE.as_secs() / 3600)]
    TimedOut,
    #[error(
        "ssh connects to {address}, but nothing there responds within {} s; see whether its file systems and nightshift.service respond",
        .after.as_secs()
    )]
    Silent { address: String, after: Duration },
}

/// The bytes that follow a request: the contents of these files, one after the other.
pub type Content = Vec<PathBuf>;

/// Calls a machine, and returns the result of the act.
pub async fn call(
    login: &Login,
    machine: &Machine,
    plan: &PlanId,
    step: &str,
    act: Act,
    content: Content,
) -> Result<Outcome, CallError> {
    let (step, host) = (step.to_owned(), Some(machine.host.clone()));
    let request = Request { format: FORMAT, plan: plan.clone(), step, host, act };
    let mut line = serde_json::to_vec(&request).map_err(|error| CallError::Ssh(error.into()))?;
    line.push(b'\n');
    let limits = Limits::of(&request.act);
    within(limits, login.act(machine), &line, content, &machine.address).await
}

/// How long a machine may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    result: Duration,
    /// From one line of its output to the next.
    silence: Duration,
}

impl Limits {
    const LONG: Self = Self { result: DEADLINE, silence: DEADLINE };
    const SHORT: Self = Self { result: REQUEST_TIMEOUT, silence: REQUEST_TIMEOUT };

    /// An act that looks or starts something is short. While a night runs, the machine sends a line every few seconds.
    const fn of(act: &Act) -> Self {
        match act {
            Act::Facts(_) | Act::HostKeys | Act::FreeNight | Act::Backup { wait: false, .. } => Self::SHORT,
            Act::Backup { wait: true, .. } => Self { result: DEADLINE, silence: REQUEST_TIMEOUT },
            _ => Self::LONG,
        }
    }
}

/// Runs ssh within these limits. Beyond them, it is killed with everything that it has started, such as a ProxyCommand.
async fn within(
    limits: Limits,
    mut ssh: Command,
    request: &[u8],
    content: Content,
    address: &str,
) -> Result<Outcome, CallError> {
    // A long act stays in the terminal's group, which an operator's Ctrl-C ends.
    let is_long = limits == Limits::LONG;
    if !is_long {
        ssh.process_group(0);
    }
    let mut child = ssh.spawn().map_err(CallError::Ssh)?;
    let group = child.id().filter(|_| !is_long).and_then(|id| Pid::from_raw(id.try_into().ok()?));
    let called = timeout(limits.result, exchange(&mut child, request, content, address, limits.silence));
    let result = called.await.unwrap_or_else(|_| {
        Err(match limits.result == DEADLINE {
            true => CallError::TimedOut,
            false => CallError::Silent { address: address.to_owned(), after: limits.result },
        })
    });
    if let (Err(CallError::Silent { .. } | CallError::TimedOut), Some(group)) = (&result, group) {
        // An error means that none of them is left.
        let _none_left = kill_process_group(group, Signal::KILL);
    }
    result
}

async fn exchange(
    child: &mut Child,
    request: &[u8],
    content: Content,
    address: &str,
    silence: Duration,
) -> Result<Outcome, CallError> {
    let missing = || CallError::Ssh(io::Error::other("no pipe"));
    let input = child.stdin.take().ok_or_else(missing)?;
    let output = child.stdout.take().ok_or_else(missing)?;
    let errors = child.stderr.take().ok_or_else(missing)?;
    let sent = async { Ok(send(input, request, content).await) };
    let errors = async { Ok(tail(errors).await) };
    // The first error ends all three: only silence is one here.
    let (sent, reply, errors) = tokio::try_join!(sent, receive(output, address, silence), errors)?;
    let status = child.wait().await.map_err(CallError::Ssh)?;
    match reply? {
        Some(Reply::Done(outcome)) => {
            sent?;
            Ok(*outcome)
        }
        Some(Reply::Failed { reason }) => Err(CallError::Failed(reason.to_string())),
        _ => {
            let (address, reason) = (address.to_owned(), one_line(errors.trim()));
            Err(match status.code() {
                Some(NOT_CONNECTED) if !is_refused_login(&reason) => {
                    CallError::NotConnected { address, reason }
                }
                _ => CallError::NoResult { address, status, reason },
            })
        }
    }
}

/// A machine that refuses the act does not read its bytes: its reply says why.
async fn send(mut input: ChildStdin, request: &[u8], content: Content) -> Result<(), CallError> {
    if input.write_all(request).await.is_err() {
        return Ok(());
    }
    for path in content {
        let unreadable = |source| CallError::Content { path: path.clone(), source };
        let mut file = File::open(&path).await.map_err(unreadable)?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = file.read(&mut buffer).await.map_err(unreadable)?;
            if read == 0 {
                break;
            }
            if input.write_all(&buffer[..read]).await.is_err() {
                return Ok(());
            }
        }
    }
    let _closed_by_the_machine = input.shutdown().await;
    Ok(())
}

/// The last reply, `None` if there was none; or the error if no line arrives for so long.
async fn receive(
    output: impl AsyncRead + Unpin,
    address: &str,
    silence: Duration,
) -> Result<Result<Option<Reply>, CallError>, CallError> {
    let mut reading = BufReader::new(output);
    let mut last = None;
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut reading).take(MAX_REPLY);
        let Ok(read) = timeout(silence, bounded.read_until(b'\n', &mut line)).await else {
            return Err(CallError::Silent { address: address.to_owned(), after: silence });
        };
        match read {
            Ok(0) => return Ok(Ok(last)),
            Ok(_) => {}
            Err(error) => return Ok(Err(CallError::Ssh(error))),
        }
        match serde_json::from_slice(&line).map_err(InvalidJson::from) {
            Ok(Reply::Progress { .. }) => {}
            Ok(end) => last = Some(end),
            Err(source) => return Ok(Err(CallError::Invalid { address: address.to_owned(), source })),
        }
    }
}

/// The first bytes of what ssh and the program print; the rest is read and dropped.
pub async fn tail(mut errors: impl AsyncRead + Unpin) -> String {
    let mut first = Vec::new();
    let _unreadable = (&mut errors).take(MAX_ERRORS).read_to_end(&mut first).await;
    let _unreadable = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&first).into_owned()
}

/// ssh ends with the same status if the host has another key, or refuses the login: then the machine is not down.
fn is_refused_login(reason: &str) -> bool {
    ["Host key verification failed", "Permission denied", "REMOTE HOST IDENTIFICATION HAS CHANGED"]
        .iter()
        .any(|words| reason.contains(words))
}

impl CallError {
    /// Whether the machine was not reached at all.
    pub const fn is_not_connected(&self) -> bool {
        matches!(self, Self::NotConnected { .. })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;
    use std::time::Instant;

    use super::*;

    const SHORT: Limits = Limits { result: Duration::from_secs(1), silence: Duration::from_secs(1) };

    /// A script instead of ssh.
    async fn run(limits: Limits, script: &str) -> Result<Outcome, CallError> {
        let mut ssh = Command::new("sh");
        ssh.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ssh.kill_on_drop(true);
        within(limits, ssh, b"{}\n", Vec::new(), "n1").await
    }

    #[tokio::test]
    async fn a_host_that_accepts_the_login_and_never_responds_is_given_up_with_all_that_ssh_has_started() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("proxy");
        let begun = Instant::now();
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        let error = run(SHORT, &script).await.unwrap_err().to_string();
        assert!(error.contains("n1") && error.contains("nothing there responds within 1 s"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
        let proxy = std::fs::read_to_string(&file).unwrap();
        let stat = format!("/proc/{}/stat", proxy.trim());
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(begun.elapsed() < Duration::from_secs(60), "process {proxy} was left behind");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_night_that_runs_is_awaited_as_long_as_the_host_gives_signs_of_life() {
        let limits = Limits { result: Duration::from_secs(60), silence: Duration::from_secs(2) };
        let lives = r#"for i in 1 2 3 4 5 6; do sleep 0.5; echo '{"progress":{"bytes":0}}'; done
            echo '{"done":{"changed":true}}'"#;
        assert!(run(limits, lives).await.unwrap().changed);
        let begun = Instant::now();
        let error = run(limits, r#"echo '{"progress":{"bytes":0}}'; sleep 600"#).await.unwrap_err();
        assert!(matches!(error, CallError::Silent { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    }

    #[test]
    fn only_what_looks_or_starts_something_has_a_short_limit() {
        let backup = |wait| Act::Backup {
            night: "2026-11-29.1".parse().unwrap(),
            backup: nightshift_core::backup::Backup::default(),
            wait,
        };
        for (act, result, silence) in [
            (Act::FreeNight, REQUEST_TIMEOUT, REQUEST_TIMEOUT),
            (backup(false), REQUEST_TIMEOUT, REQUEST_TIMEOUT),
            (backup(true), DEADLINE, REQUEST_TIMEOUT),
            (Act::Finish, DEADLINE, DEADLINE),
        ] {
            assert_eq!(Limits::of(&act), Limits { result, silence }, "{}", act.name());
        }
    }
}
