//! Runs a command on a peer, for what SFTP cannot do, such as computing a checksum there.

use std::time::Duration;

use nightshift_core::text::Text;
use russh::{ChannelMsg, Sig};
use thiserror::Error;
use tokio::time::timeout;
use tracing::debug;

use super::{ChannelError, Session};

/// The peer's shell prints this line before the command. Its absence shows that something else ran: a forced command, or a
/// login without a shell.
const STARTED: &str = "nightshift: command starts";

/// The type of the stderr stream: SSH_EXTENDED_DATA_STDERR (RFC 4254, §5.2).
const STDERR: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// The exit status; `None` if a signal ended the command.
    pub status: Option<u32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

#[derive(Debug, Error)]
pub enum ExecError {
    #[error("{peer}: this login cannot run commands{}", detail(said))]
    Forbidden { peer: String, said: String },
    #[error("{peer}: the command wrote more than {limit} bytes")]
    TooMuchOutput { peer: String, limit: usize },
    #[error("{peer}: the command did not end within {seconds} s")]
    Timeout { peer: String, seconds: u64 },
    #[error("{peer}: the connection was lost while the command ran: {reason}")]
    Disconnected { peer: String, reason: String },
}

fn detail(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" (its output: {said})") }
}

impl Session {
    /// Runs a command in the peer's login shell, with an empty standard input.
    pub async fn exec(
        &self,
        command: &str,
        max_output: usize,
        limit: Duration,
    ) -> Result<ExecOutput, ExecError> {
        let peer = &self.link.peer;
        let channel = self.link.open_channel().await.map_err(|error| match error {
            ChannelError::Timeout(limit) => self.exec_timed_out(limit),
            ChannelError::Refused(said) => self.forbidden(said),
            ChannelError::Disconnected(reason) => ExecError::Disconnected { peer: peer.clone(), reason },
        })?;
        let (mut responses, requests) = channel.split();
        let run = async {
            let line = format!("echo '{STARTED}'; {command}");
            if requests.exec(true, line).await.is_err() || requests.eof().await.is_err() {
                return Err(self.exec_disconnected());
            }
            let mut collected = Collected::new(peer, max_output);
            while let Some(message) = responses.wait().await {
                collected.take(message)?;
            }
            if collected.status.is_none() && self.link.is_closed() {
                return Err(self.exec_disconnected());
            }
            collected.into_output().map_err(|said| self.forbidden(said))
        };
        let result = timeout(limit, run).await.unwrap_or_else(|_| Err(self.exec_timed_out(limit)));
        if result.is_err() && (requests.signal(Sig::TERM).await.is_err() || requests.close().await.is_err()) {
            debug!(%peer, "the connection ended together with the command");
        }
        result
    }

    fn forbidden(&self, said: String) -> ExecError {
        ExecError::Forbidden { peer: self.link.peer.clone(), said }
    }

    fn exec_timed_out(&self, limit: Duration) -> ExecError {
        ExecError::Timeout { peer: self.link.peer.clone(), seconds: limit.as_secs() }
    }

    fn exec_disconnected(&self) -> ExecError {
        ExecError::Disconnected { peer: self.link.peer.clone(), reason: self.link.end_reason() }
    }
}

struct Collected<'a> {
    peer: &'a str,
    max_output: usize,
    status: Option<u32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl<'a> Collected<'a> {
    const fn new(peer: &'a str, max_output: usize) -> Self {
        Self { peer, max_output, status: None, stdout: Vec::new(), stderr: Vec::new() }
    }

    fn take(&mut self, message: ChannelMsg) -> Result<(), ExecError> {
        let peer = || self.peer.to_owned();
        match message {
            ChannelMsg::Failure => return Err(ExecError::Forbidden { peer: peer(), said: String::new() }),
            ChannelMsg::ExitStatus { exit_status } => self.status = Some(exit_status),
            ChannelMsg::Data { data } => self.stdout.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, ext: STDERR } => self.stderr.extend_from_slice(&data),
            _ => {}
        }
        // The line that `exec` adds is not part of the output.
        if self.stdout.len() + self.stderr.len() > self.max_output.saturating_add(STARTED.len() + 1) {
            return Err(ExecError::TooMuchOutput { peer: peer(), limit: self.max_output });
        }
        Ok(())
    }

    /// The output after the `STARTED` line; text before it, such as a shell's greeting, is removed. Without that line another
    /// program ran: the error is the first line of its output.
    fn into_output(self) -> Result<ExecOutput, String> {
        let mark = format!("{STARTED}\n");
        let found = self.stdout.windows(mark.len()).position(|window| window == mark.as_bytes());
        match found {
            Some(at) => Ok(ExecOutput {
                status: self.status,
                stdout: self.stdout.get(at + mark.len()..).unwrap_or_default().to_vec(),
                stderr: self.stderr,
            }),
            None => Err(first_line(&[self.stderr, self.stdout].concat())),
        }
    }
}

fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    Text::new(line).to_string()
}
