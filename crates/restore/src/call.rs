//! One call: a request to a machine and its replies.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use nightshift_core::restore::act::{Act, FORMAT, MAX_REPLY, Outcome, Reply, Request};
use nightshift_core::restore::id::PlanId;
use nightshift_core::restore::machine::Machine;
use nightshift_core::text::{InvalidJson, one_line};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::time::timeout;

use crate::login::{Login, NOT_CONNECTED};

/// The longest act is an extra night. A connection that is dead ends much earlier, by ssh's own timeouts.
const DEADLINE: Duration = Duration::from_secs(3 * 60 * 60);
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
    #[error("no result within {} s", DEADLINE.as_secs())]
    TimedOut,
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
    let request = Request { format: FORMAT, plan: plan.clone(), step: step.to_owned(), act };
    let mut line = serde_json::to_vec(&request).map_err(|error| CallError::Ssh(error.into()))?;
    line.push(b'\n');
    let mut child = login.act(machine).spawn().map_err(CallError::Ssh)?;
    let called = exchange(&mut child, &line, content, &machine.address);
    timeout(DEADLINE, called).await.map_err(|_| CallError::TimedOut)?
}

async fn exchange(
    child: &mut Child,
    request: &[u8],
    content: Content,
    address: &str,
) -> Result<Outcome, CallError> {
    let missing = || CallError::Ssh(io::Error::other("no pipe"));
    let input = child.stdin.take().ok_or_else(missing)?;
    let output = child.stdout.take().ok_or_else(missing)?;
    let errors = child.stderr.take().ok_or_else(missing)?;
    let (sent, reply, errors) =
        tokio::join!(send(input, request, content), receive(output, address), tail(errors));
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

/// The last reply; `None` if there was none.
async fn receive(output: impl AsyncRead + Unpin, address: &str) -> Result<Option<Reply>, CallError> {
    let mut reading = BufReader::new(output);
    let mut last = None;
    loop {
        let mut line = Vec::new();
        let read =
            (&mut reading).take(MAX_REPLY).read_until(b'\n', &mut line).await.map_err(CallError::Ssh)?;
        if read == 0 {
            return Ok(last);
        }
        let reply = serde_json::from_slice(&line).map_err(InvalidJson::from);
        match reply.map_err(|source| CallError::Invalid { address: address.to_owned(), source })? {
            Reply::Progress { .. } => {}
            end => last = Some(end),
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
