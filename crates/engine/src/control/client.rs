//! The commands' side of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{ControlRequest, ControlResponse, MAX_RESPONSE_LEN};

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no daemon answers at {}; is it running? See `systemctl status nightshift`", path.display())]
    Away { path: PathBuf, source: io::Error },
    #[error("no permission to use {}; run the command as root or as a member of group nightshift-ctl", path.display())]
    Denied { path: PathBuf, source: io::Error },
    #[error("the daemon closed the connection without a response; see `journalctl -u nightshift`")]
    BrokenOff(#[source] io::Error),
    #[error(
        "the daemon did not respond within {} s; see `journalctl -u nightshift`. systemd restarts a daemon that hangs", .0.as_secs()
    )]
    Silent(Duration),
    #[error(
        "cannot decode the daemon's response; does the daemon run another version? Restart it after an upgrade"
    )]
    Decode(#[source] serde_json::Error),
}

/// Whether a daemon listens on the socket. One that this user may not use counts.
pub fn is_running(socket: &Path) -> bool {
    match std::os::unix::net::UnixStream::connect(socket) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Sends a request and waits for the response; with `wait` that takes as long as the stages run.
pub async fn send(socket: &Path, request: &ControlRequest) -> Result<ControlResponse, ClientError> {
    let exchange = exchange(socket, request);
    match request.time_limit() {
        Some(limit) => timeout(limit, exchange).await.unwrap_or(Err(ClientError::Silent(limit))),
        None => exchange.await,
    }
}

async fn exchange(socket: &Path, request: &ControlRequest) -> Result<ControlResponse, ClientError> {
    let mut stream = UnixStream::connect(socket).await.map_err(|source| {
        let path = socket.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => ClientError::Denied { path, source },
            _ => ClientError::Away { path, source },
        }
    })?;
    let mut line = serde_json::to_vec(request).map_err(ClientError::Decode)?;
    line.push(b'\n');
    // A daemon that has no slot for this client responds without reading the request, and closes the connection.
    let sent = stream.write_all(&line).await;
    let mut response = Vec::new();
    let read = BufReader::new(stream.take(MAX_RESPONSE_LEN)).read_until(b'\n', &mut response).await;
    if response.is_empty() {
        let error = sent.and(read).err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
        return Err(ClientError::BrokenOff(error));
    }
    serde_json::from_slice(&response).map_err(ClientError::Decode)
}
