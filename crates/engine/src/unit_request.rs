//! A request to a unit that systemd starts for each connection to its socket: one line of JSON, and one line as the answer. The sockets
//! are in directories that root owns, beside the run directory: the daemon's user could put a link into its own.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nightshift_core::settings::Settings;
use nightshift_core::text::one_line;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The maximum length of a request and of an answer, in bytes.
const MAX_MESSAGE_LEN: u64 = 64 << 10;
/// The time in which a unit that was started sends its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A unit, by its name and its socket.
#[derive(Debug, Clone, Copy)]
pub struct Unit {
    /// Such as `nightshift-notify`: also the name of the socket's directory.
    pub name: &'static str,
    pub socket: &'static str,
}

impl Unit {
    pub fn socket(self, settings: &Settings) -> PathBuf {
        settings.paths.run.with_file_name(self.name).join(self.socket)
    }

    /// Sends a request, and waits for the answer. An error is one of the connection.
    pub async fn request<A: DeserializeOwned>(
        self,
        socket: &Path,
        request: &impl Serialize,
        limit: Duration,
    ) -> io::Result<A> {
        let exchange = async {
            let mut stream = UnixStream::connect(socket).await?;
            write(&mut stream, request).await?;
            let answer = read(&mut stream).await?;
            if answer.is_empty() {
                let ended =
                    format!("the unit ended without an answer; see `journalctl -u '{}@*'`", self.name);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, ended));
            }
            Ok(serde_json::from_slice(&answer)?)
        };
        let late = || {
            let (seconds, unit) = (limit.as_secs(), self.name);
            let text = format!("the unit did not answer within {seconds} s; see `journalctl -u '{unit}@*'`");
            io::Error::new(io::ErrorKind::TimedOut, text)
        };
        timeout(limit, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    /// Why there was no answer, with the remedy.
    pub fn explain(self, socket: &Path, error: &io::Error) -> String {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                format!("; run `systemctl start {}.socket`", self.name)
            }
            _ => String::new(),
        };
        one_line(&format!("{}: {error}{remedy}", socket.display()))
    }
}

/// The unit's side of a connection.
#[derive(Debug)]
pub struct Connection(UnixStream);

impl Connection {
    /// The one that systemd passes as standard input and output.
    pub fn of_systemd() -> io::Result<Self> {
        use std::os::fd::AsFd as _;
        let stream = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        stream.set_nonblocking(true)?;
        Ok(Self(UnixStream::from_std(stream)?))
    }

    pub async fn request<Q: DeserializeOwned>(&mut self) -> io::Result<Q> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no request came");
        let line = timeout(REQUEST_TIMEOUT, read(&mut self.0)).await.unwrap_or_else(|_| Err(late()))?;
        Ok(serde_json::from_slice(&line)?)
    }

    /// Returns when the other side has closed the connection: it waits for no answer any more.
    pub async fn closed(&mut self) {
        let mut ignored = [0; 64];
        while matches!(self.0.read(&mut ignored).await, Ok(1..)) {}
    }

    pub async fn answer(&mut self, answer: &impl Serialize) -> io::Result<()> {
        write(&mut self.0, answer).await
    }
}

async fn write(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn read(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_MESSAGE_LEN)).read_until(b'\n', &mut line).await?;
    Ok(line)
}
