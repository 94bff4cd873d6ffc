//! The connection to the unit that sends notices: nightshift-notify.socket, one connection for each notice.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nightshift_core::notify::{Request, Response};
use nightshift_core::settings::Settings;
use nightshift_core::text::one_line;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// In a directory that root owns, as for drills.
const SOCKET_DIRECTORY: &str = "nightshift-notify";
const SOCKET: &str = "notify.sock";
/// The maximum length of a request and of a response, in bytes.
pub const MAX_MESSAGE_LEN: u64 = 64 << 10;
/// The unit ends by itself before (RuntimeMaxSec=).
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(150);

pub fn socket(settings: &Settings) -> PathBuf {
    settings.paths.run.with_file_name(SOCKET_DIRECTORY).join(SOCKET)
}

/// Sends one notice through the unit. An error of the connection is not that of the receiver.
pub async fn send(socket: &Path, request: &Request) -> io::Result<Response> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        BufReader::new(stream.take(MAX_MESSAGE_LEN)).read_until(b'\n', &mut answer).await?;
        if answer.is_empty() {
            let ended = "the unit ended without an answer; see `journalctl -u 'nightshift-notify@*'`";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, ended));
        }
        Ok(serde_json::from_slice(&answer)?)
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, "the unit did not answer in time");
    timeout(RESPONSE_TIMEOUT, exchange).await.unwrap_or_else(|_| Err(late()))
}

/// Why a notice was not sent; `None` if the receiver has it.
pub fn failure(socket: &Path, sent: io::Result<Response>) -> Option<String> {
    match sent {
        Ok(Response::Sent) => None,
        Ok(Response::Failed(reason)) => Some(one_line(&reason)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Some(format!("{}: {error}; run `systemctl start nightshift-notify.socket`", socket.display()))
        }
        Err(error) => Some(format!("{}: {error}", socket.display())),
    }
}
