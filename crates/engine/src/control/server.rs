//! The daemon's end of the control socket.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::{Answer, LONGEST_REQUEST, Request};

/// The group whose members may ask, where the system has it.
const GROUP: &str = "nightshift-ctl";
/// A client that connects has so long to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// And so long to read the answer, for it holds one of few places.
const READING: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
#[error("the control socket {} cannot be made", path.display())]
pub struct ServerError {
    path: PathBuf,
    source: io::Error,
}

#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

/// A request on its way to the daemon's loop, and where its answer goes.
#[derive(Debug)]
pub struct Pending {
    pub request: Request,
    pub who: String,
    pub reply: oneshot::Sender<Answer>,
}

impl Server {
    pub fn bind(path: &Path) -> Result<Self, ServerError> {
        let bind = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            // A socket that a crash left; anything else that lies there is not ours to remove.
            if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
                fs::remove_file(path)?;
            }
            let listener = UnixListener::bind(path)?;
            give_to_group(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
            Ok(listener)
        };
        match bind() {
            Ok(listener) => Ok(Self { listener, path: path.to_owned() }),
            Err(source) => Err(ServerError { path: path.to_owned(), source }),
        }
    }

    /// The next client. A failing accept is retried after a pause, for it may be out of descriptors.
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

/// Gives the socket to its group, where the set-gid folder that it lies in has not done so already: the
/// sandbox bars chown.
fn give_to_group(path: &Path) -> io::Result<()> {
    let Some(group) = uzers::get_group_by_name(GROUP) else { return Ok(()) };
    if fs::metadata(path)?.gid() != group.gid()
        && let Err(error) = std::os::unix::fs::chown(path, None, Some(group.gid()))
    {
        tracing::warn!("cannot give the control socket to group {GROUP}, so only root can use it: {error}");
    }
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        // Left behind, it would only make clients wait for a daemon that is gone.
        let _gone = fs::remove_file(&self.path);
    }
}

/// Serves one client: one request, one answer.
pub async fn converse(stream: UnixStream, socket: PathBuf, daemon: mpsc::Sender<Pending>) {
    if let Err(error) = serve(stream, &socket, daemon).await {
        tracing::debug!("a control client went away: {error}");
    }
}

async fn serve(mut stream: UnixStream, socket: &Path, daemon: mpsc::Sender<Pending>) -> io::Result<()> {
    let credentials = stream.peer_cred()?;
    let (reader, mut writer) = stream.split();
    if !may_ask(credentials, socket) {
        let message =
            format!("uid {} may not control nightshift: be root or in group {GROUP}", credentials.uid());
        return write(&mut writer, &Answer::Failed { message }).await;
    }
    let mut line = String::new();
    let mut limited = BufReader::new(reader.take(LONGEST_REQUEST));
    tokio::time::timeout(PATIENCE, limited.read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => forward(request, &name_of(credentials), &daemon).await,
        Err(error) => Answer::Failed { message: format!("the request is not understood: {error}") },
    };
    tokio::time::timeout(READING, write(&mut writer, &answer)).await?
}

async fn forward(request: Request, who: &str, daemon: &mpsc::Sender<Pending>) -> Answer {
    let (reply, answer) = oneshot::channel();
    let pending = Pending { request, who: who.to_owned(), reply };
    if daemon.send(pending).await.is_err() {
        return Answer::Busy { message: "the daemon is stopping".to_owned() };
    }
    answer.await.unwrap_or_else(|_| Answer::Busy { message: "the daemon is stopping".to_owned() })
}

async fn write(writer: &mut (impl tokio::io::AsyncWrite + Unpin), answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.shutdown().await
}

fn may_ask(credentials: UCred, socket: &Path) -> bool {
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
