//! The daemon's side of the control socket.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::{ControlRequest, ControlResponse, MAX_REQUEST_LEN};

/// Members of this group may use the socket, which inherits the group from its directory.
const GROUP: &str = "nightshift-ctl";
/// The time for a client to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The time for a client to read the response. The number of clients is limited, so a hanging one must go.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
#[error("cannot create the control socket {}", path.display())]
pub struct ServerError {
    path: PathBuf,
    source: io::Error,
}

#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket: another daemon may have replaced it.
    id: (u64, u64),
}

/// A request for the daemon's loop, and where its response goes.
#[derive(Debug)]
pub struct Pending {
    pub request: ControlRequest,
    pub who: String,
    pub reply: oneshot::Sender<ControlResponse>,
}

impl Server {
    pub fn bind(path: &Path) -> Result<Self, ServerError> {
        let bind = || {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            // Only a socket that a crash left is removed; any other file is an error, and so is one that a process listens on.
            if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
                if std::os::unix::net::UnixStream::connect(path).is_ok() {
                    return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it"));
                }
                fs::remove_file(path)?;
            }
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
            Ok((listener, id_of(path)?))
        };
        match bind() {
            Ok((listener, id)) => Ok(Self { listener, path: path.to_owned(), id }),
            Err(source) => Err(ServerError { path: path.to_owned(), source }),
        }
    }

    /// The next client. A failed accept is retried after a delay, because file descriptors may be used up.
    pub async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    tracing::warn!("cannot accept a connection on the control socket: {error}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Clients then report that the daemon does not run, instead of a refused connection.
        if id_of(&self.path).is_ok_and(|id| id == self.id) {
            let _gone = fs::remove_file(&self.path);
        }
    }
}

fn id_of(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Responds that every slot is in use, without waiting: the response fits into the socket's empty buffer.
pub fn refuse_client(stream: UnixStream, message: String) {
    // tokio's own `try_write` writes nothing before its first poll.
    if let (Ok(mut stream), Ok(mut line)) =
        (stream.into_std(), serde_json::to_vec(&ControlResponse::Busy { message }))
    {
        line.push(b'\n');
        let _gone = io::Write::write_all(&mut stream, &line);
    }
}

/// Serves one client: one request, one response.
pub async fn serve_client(stream: UnixStream, socket: PathBuf, daemon: mpsc::Sender<Pending>) {
    if let Err(error) = serve(stream, &socket, daemon).await {
        tracing::debug!("a control client disconnected: {error}");
    }
}

async fn serve(mut stream: UnixStream, socket: &Path, daemon: mpsc::Sender<Pending>) -> io::Result<()> {
    let credentials = stream.peer_cred()?;
    let (reader, mut writer) = stream.split();
    if !is_allowed(credentials, socket) {
        let message = format!(
            "uid {} has no permission to control nightshift; use root or a member of group {GROUP}",
            credentials.uid()
        );
        return write(&mut writer, &ControlResponse::Failed { message }).await;
    }
    // Bytes, not text: a line that is not UTF-8 is refused with a response too.
    let mut line = Vec::new();
    let mut limited = BufReader::new(reader.take(MAX_REQUEST_LEN));
    tokio::time::timeout(REQUEST_TIMEOUT, limited.read_until(b'\n', &mut line)).await??;
    let response = match ControlRequest::decode(&line) {
        Ok(request) => forward(request, &name_of(credentials), &daemon).await,
        Err(refusal) => refusal,
    };
    tokio::time::timeout(RESPONSE_TIMEOUT, write(&mut writer, &response)).await?
}

async fn forward(request: ControlRequest, who: &str, daemon: &mpsc::Sender<Pending>) -> ControlResponse {
    let (reply, response) = oneshot::channel();
    let pending = Pending { request, who: who.to_owned(), reply };
    if daemon.send(pending).await.is_err() {
        return ControlResponse::Busy { message: "the daemon is stopping".to_owned() };
    }
    response.await.unwrap_or_else(|_| ControlResponse::Busy { message: "the daemon is stopping".to_owned() })
}

async fn write(
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    response: &ControlResponse,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.shutdown().await
}

fn is_allowed(credentials: UCred, socket: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    if credentials.uid() == 0 || credentials.uid() == own {
        return true;
    }
    let Ok(group) = fs::metadata(socket).map(|metadata| metadata.gid()) else { return false };
    credentials.gid() == group
        || uzers::get_user_by_uid(credentials.uid())
            .and_then(|user| user.groups())
            .is_some_and(|groups| groups.iter().any(|of| of.gid() == group))
}

fn name_of(credentials: UCred) -> String {
    match uzers::get_user_by_uid(credentials.uid()) {
        Some(user) => user.name().to_string_lossy().into_owned(),
        None => format!("uid {}", credentials.uid()),
    }
}
