//! What can go wrong with a file on a peer, each with its path.

use std::io;

use russh_sftp::client::error::Error as ProtocolError;
use russh_sftp::protocol::StatusCode;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum SftpError {
    #[error("{peer}: {path} does not exist (any more)")]
    Gone { peer: String, path: String },
    #[error("{peer}: permission denied to {action} {path}")]
    Denied { peer: String, path: String, action: &'static str },
    #[error("{peer}: {path} exists already and is not replaced")]
    Exists { peer: String, path: String },
    /// SFTP has one word for a full disk, a folder that is not empty and much else.
    #[error("{peer}: failed to {action} {path}: {reason}")]
    Failure { peer: String, path: String, action: &'static str, reason: String },
    #[error("{peer}: the server cannot {action} ({path})")]
    Unsupported { peer: String, path: String, action: &'static str },
    #[error("{peer}: {path} is larger than the {limit} {unit} that are accepted")]
    TooBig { peer: String, path: String, limit: u64, unit: &'static str },
    #[error("{peer}: {path} ended at byte {end}, before byte {expected}: it changed while it was read")]
    Truncated { peer: String, path: String, end: u64, expected: u64 },
    #[error("{peer}: no answer within {seconds} s to {action} {path}")]
    Timeout { peer: String, path: String, action: &'static str, seconds: u64 },
    #[error("{peer}: the connection was lost while trying to {action} {path}: {reason}")]
    Disconnected { peer: String, path: String, action: &'static str, reason: String },
    #[error("{peer}: SFTP is not available to this login: {reason}")]
    NoSubsystem { peer: String, reason: String },
    #[error("{peer}: an answer outside the protocol to {action} {path}: {reason}")]
    Protocol { peer: String, path: String, action: &'static str, reason: String },
    #[error("what was read from {path} on {peer} could not be taken")]
    Sink { peer: String, path: String, source: io::Error },
}

impl SftpError {
    /// Whether the connection is at fault: the same request may succeed on a new session.
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Disconnected { .. } | Self::Protocol { .. })
    }

    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }
}

/// What was being done to which path, so that every error can say so.
#[derive(Clone, Copy)]
pub(super) struct Doing<'a> {
    pub action: &'static str,
    pub path: &'a str,
}

impl Doing<'_> {
    pub fn disconnected(self, peer: &str, reason: String) -> SftpError {
        SftpError::Disconnected {
            peer: peer.to_owned(),
            path: self.path.to_owned(),
            action: self.action,
            reason,
        }
    }

    /// The protocol's error in this crate's words. `end_reason` tells why the connection ended, if it did.
    pub fn failed(self, peer: &str, error: ProtocolError, end_reason: impl FnOnce() -> String) -> SftpError {
        let (peer, path, action) = (peer.to_owned(), self.path.to_owned(), self.action);
        match error {
            ProtocolError::Status(status) => match status.status_code {
                StatusCode::NoSuchFile => SftpError::Gone { peer, path },
                StatusCode::PermissionDenied => SftpError::Denied { peer, path, action },
                StatusCode::OpUnsupported => SftpError::Unsupported { peer, path, action },
                code => {
                    SftpError::Failure { peer, path, action, reason: reason(code, &status.error_message) }
                }
            },
            // The only text by which russh-sftp tells a lost connection from a broken answer.
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
    let said: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
    match code {
        StatusCode::Failure => {
            "the server says only \"failure\" (disk full? not a folder? not empty?)".into()
        }
        _ if said.is_empty() => code.to_string(),
        _ => said,
    }
}
