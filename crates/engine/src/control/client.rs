//! The commands' end of the control socket.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{Answer, LONGEST_ANSWER, Request};

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the daemon does not answer at {}: is it running? `systemctl status nightshift` tells", path.display())]
    Away { path: PathBuf, source: io::Error },
    #[error("you may not talk to the daemon at {}: be root or in group nightshift-ctl", path.display())]
    Denied { path: PathBuf, source: io::Error },
    #[error("the daemon broke off")]
    BrokenOff(#[source] io::Error),
    #[error("the daemon's answer is not understood: is it of another version?")]
    Answer(#[source] serde_json::Error),
}

/// Asks the daemon and waits for its answer, for as long as what was asked for takes.
pub async fn ask(socket: &Path, request: &Request) -> Result<Answer, ClientError> {
    let mut stream = UnixStream::connect(socket).await.map_err(|source| {
        let path = socket.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => ClientError::Denied { path, source },
            _ => ClientError::Away { path, source },
        }
    })?;
    let mut line = serde_json::to_vec(request).map_err(ClientError::Answer)?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(ClientError::BrokenOff)?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await.map_err(ClientError::BrokenOff)?;
    if answer.is_empty() {
        return Err(ClientError::BrokenOff(io::ErrorKind::UnexpectedEof.into()));
    }
    serde_json::from_slice(&answer).map_err(ClientError::Answer)
}
