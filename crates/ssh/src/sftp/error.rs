//! Errors of SFTP operations, each with its peer and path.

use std::{fmt, io};

use russh_sftp::client::error::Error as ProtocolError;
use russh_sftp::protocol::{Status, StatusCode};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum SftpError {
    #[error("{peer}: {path} does not exist{text}")]
    Gone { peer: String, path: String, text: ServerText },
    #[error("{peer}: cannot {action} {path}: permission denied{text}")]
    Denied { peer: String, path: String, action: &'static str, text: ServerText },
    #[error("{peer}: {path} already exists and is not replaced")]
    Exists { peer: String, path: String },
    /// SSH_FX_FAILURE: servers return it for a full disk, a directory that is not empty, and many other causes.
    #[error("{peer}: cannot {action} {path}: {reason}")]
    Failure { peer: String, path: String, action: &'static str, reason: String },
    #[error("{peer}: cannot {action} {path}: unsupported by the server{text}")]
    Unsupported { peer: String, path: String, action: &'static str, text: ServerText },
    #[error("{peer}: {path} has more than {limit} {unit}, the maximum")]
    TooBig { peer: String, path: String, limit: u64, unit: &'static str },
    #[error("{peer}: {path} ends at byte {end} instead of {expected}; it changed while it was read")]
    Truncated { peer: String, path: String, end: u64, expected: u64 },
    #[error("{peer}: cannot {action} {path}: no response within {seconds} s")]
    Timeout { peer: String, path: String, action: &'static str, seconds: u64 },
    #[error("{peer}: cannot {action} {path}: the host is too slow; {received} bytes arrived so far")]
    TooSlow { peer: String, path: String, action: &'static str, received: u64 },
    #[error("{peer}: cannot {action} {path}: the connection was lost ({reason})")]
    Disconnected { peer: String, path: String, action: &'static str, reason: String },
    #[error("{peer}: SFTP is not available for this login: {reason}")]
    NoSubsystem { peer: String, reason: String },
    #[error("{peer}: cannot {action} {path}: invalid response ({reason})")]
    Protocol { peer: String, path: String, action: &'static str, reason: String },
    #[error("{peer}: cannot store what was read from {path}")]
    Sink { peer: String, path: String, source: io::Error },
}

impl SftpError {
    /// Whether the connection is the cause: the same request may succeed on a new session.
    pub fn is_connection(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. } | Self::TooSlow { .. } | Self::Disconnected { .. } | Self::Protocol { .. }
        )
    }

    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }

    /// Whether a write, or opening a file for it, was refused for a reason that is not a lack of space: the server may accept only
    /// writes in order.
    pub fn is_refused_write(&self) -> bool {
        matches!(
            self,
            Self::Failure { action: "write", .. }
                | Self::Denied { action: "write", .. }
                | Self::Unsupported { action: "write", .. }
        ) && !self.is_full()
    }

    /// Whether the server has no space left for this login, as far as its text says so.
    pub fn is_full(&self) -> bool {
        let reason = match self {
            Self::Failure { reason, .. } => reason.to_lowercase(),
            Self::Denied { text, .. } => text.0.to_lowercase(),
            _ => return false,
        };
        ["no space", "quota", "disk full", "disk is full"].iter().any(|text| reason.contains(text))
            && !reason.contains("without a reason")
    }
}

/// What a server adds to a status that has a meaning of its own; empty if it only repeats that meaning.
#[derive(Debug, Default)]
pub struct ServerText(String);

impl From<Status> for ServerText {
    fn from(status: Status) -> Self {
        /// The texts of OpenSSH and other servers for these codes.
        const USUAL: [&str; 7] = [
            "no such file",
            "no such file or directory",
            "file not found",
            "permission denied",
            "operation unsupported",
            "unsupported",
            "op unsupported",
        ];
        let text = status.error_message.trim().trim_end_matches('.');
        let is_usual = USUAL.iter().any(|usual| text.eq_ignore_ascii_case(usual));
        Self(if is_usual { String::new() } else { text.to_owned() })
    }
}

impl fmt::Display for ServerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

/// An action and its path, for error messages.
#[derive(Clone, Copy)]
pub(super) struct Operation<'a> {
    pub action: &'static str,
    pub path: &'a str,
}

impl Operation<'_> {
    pub fn disconnected(self, peer: &str, reason: String) -> SftpError {
        SftpError::Disconnected {
            peer: peer.to_owned(),
            path: self.path.to_owned(),
            action: self.action,
            reason,
        }
    }

    /// Converts an error of russh-sftp. `end_reason` returns why the connection ended, if it did.
    pub fn failed(self, peer: &str, error: ProtocolError, end_reason: impl FnOnce() -> String) -> SftpError {
        let (peer, path, action) = (peer.to_owned(), self.path.to_owned(), self.action);
        match error {
            ProtocolError::Status(status) => match status.status_code {
                StatusCode::NoSuchFile => SftpError::Gone { peer, path, text: status.into() },
                StatusCode::PermissionDenied => SftpError::Denied { peer, path, action, text: status.into() },
                StatusCode::OpUnsupported => {
                    SftpError::Unsupported { peer, path, action, text: status.into() }
                }
                code => {
                    SftpError::Failure { peer, path, action, reason: reason(code, &status.error_message) }
                }
            },
            // russh-sftp distinguishes a lost connection from an invalid response only by these texts.
            ProtocolError::UnexpectedBehavior(text)
                if !["session closed", "sender dropped", "SendError", "RecvError"]
                    .iter()
                    .any(|lost| text.starts_with(lost)) =>
            {
                SftpError::Protocol { peer, path, action, reason: text }
            }
            ProtocolError::UnexpectedPacket | ProtocolError::Limited(_) => {
                SftpError::Protocol { peer, path, action, reason: error.to_string() }
            }
            ProtocolError::IO(_) | ProtocolError::UnexpectedBehavior(_) | ProtocolError::Timeout => {
                SftpError::Disconnected { peer, path, action, reason: end_reason() }
            }
        }
    }
}

fn reason(code: StatusCode, message: &str) -> String {
    match (code, message.trim()) {
        (StatusCode::Failure, text) if text.is_empty() || text.eq_ignore_ascii_case("failure") => {
            "the server returned \"failure\" without a reason (disk full, not a directory, or not empty?)"
                .into()
        }
        (_, "") => code.to_string(),
        (_, text) => text.to_owned(),
    }
}
