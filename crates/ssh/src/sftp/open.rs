//! An open file on a peer, which is closed however its user ends, even while it is being opened.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error as ProtocolError;
use russh_sftp::protocol::{FileAttributes, Handle, OpenFlags};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::{Doing, Sftp, SftpChannel, SftpError};

pub(crate) struct OpenFile {
    pub(super) channel: Arc<SftpChannel>,
    pub(super) path: String,
    /// None once closed.
    handle: Option<String>,
    _counted: OwnedSemaphorePermit,
}

/// The answer to an open, with the place among the connection's handles that it takes.
type Answer = BoxFuture<'static, (Result<Handle, ProtocolError>, OwnedSemaphorePermit)>;

/// How often somebody who waits for a free handle looks for opens that were given up and answered since.
const LOOK: Duration = Duration::from_millis(20);

/// The answers to opens whose user gave up. Each names a file that the server holds open, so the next to open one
/// closes them: a server has few handles, and one that nobody closes is gone for good. Until then it counts.
#[derive(Default)]
pub(super) struct Abandoned(Mutex<Vec<Answer>>);

impl Abandoned {
    fn lock(&self) -> MutexGuard<'_, Vec<Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what has been opened meanwhile.
    fn close(&self, raw: &RawSftpSession) {
        self.lock().retain_mut(|answer| match answer.now_or_never() {
            None => true,
            Some((opened, _counted)) => {
                if let Ok(opened) = opened {
                    let _ = raw.close(opened.handle).now_or_never();
                }
                false
            }
        });
    }
}

/// An open under way; one that is dropped before its answer came is abandoned.
struct Opening<'a> {
    answer: Option<Answer>,
    abandoned: &'a Abandoned,
}

impl Opening<'_> {
    async fn answer(&mut self) -> Result<(Handle, OwnedSemaphorePermit), ProtocolError> {
        let Some(answer) = &mut self.answer else { return Err(ProtocolError::UnexpectedPacket) };
        let (opened, counted) = answer.await;
        self.answer = None;
        opened.map(|handle| (handle, counted))
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.abandoned.lock().extend(self.answer.take());
    }
}

impl Sftp {
    pub(crate) async fn open_file(
        &self,
        path: &str,
        action: &'static str,
        flags: OpenFlags,
        mode: Option<u32>,
    ) -> Result<OpenFile, SftpError> {
        let attributes = FileAttributes { permissions: mode, ..FileAttributes::empty() };
        let (raw, name) = (Arc::clone(&self.channel.raw), path.to_owned());
        self.opened(Doing { action, path }, async move { raw.open(name, flags, attributes).await }).await
    }

    pub(super) async fn open_folder(&self, path: &str) -> Result<OpenFile, SftpError> {
        let (raw, name) = (Arc::clone(&self.channel.raw), path.to_owned());
        self.opened(Doing { action: "list", path }, async move { raw.opendir(name).await }).await
    }

    async fn opened(
        &self,
        doing: Doing<'_>,
        open: impl Future<Output = Result<Handle, ProtocolError>> + Send + 'static,
    ) -> Result<OpenFile, SftpError> {
        let counted = self.count_handle(doing).await?;
        let answer = async move { (open.await, counted) }.boxed();
        let mut opening = Opening { answer: Some(answer), abandoned: &self.channel.abandoned };
        let (opened, counted) = self.channel.ask(doing, opening.answer()).await?;
        Ok(OpenFile::new(&self.channel, doing.path, opened.handle, counted))
    }

    /// Waits until one of the connection's file handles is free.
    async fn count_handle(&self, doing: Doing<'_>) -> Result<OwnedSemaphorePermit, SftpError> {
        let free = async {
            loop {
                self.channel.abandoned.close(&self.channel.raw);
                let acquire = Arc::clone(&self.channel.handles).acquire_owned();
                // Only a closed semaphore refuses, and nobody closes it.
                if let Ok(Ok(counted)) = timeout(LOOK, acquire).await {
                    return counted;
                }
            }
        };
        let limit = self.channel.link.timeouts.request;
        timeout(limit, free).await.map_err(|_| self.channel.timed_out(doing))
    }
}

impl OpenFile {
    fn new(channel: &Arc<SftpChannel>, path: &str, handle: String, counted: OwnedSemaphorePermit) -> Self {
        Self { channel: Arc::clone(channel), path: path.to_owned(), handle: Some(handle), _counted: counted }
    }

    pub(super) fn handle(&self) -> &str {
        self.handle.as_deref().unwrap_or_default()
    }

    pub(super) fn doing(&self, action: &'static str) -> Doing<'_> {
        Doing { action, path: &self.path }
    }

    /// Writes one block and waits for its acknowledgement; callers run many of these at once.
    pub async fn write(&self, offset: u64, data: Vec<u8>) -> Result<(), SftpError> {
        let write = self.channel.raw.write(self.handle(), offset, data);
        write.await.map(drop).map_err(|error| self.channel.failed(self.doing("write"), error))
    }

    /// Puts what was written on the server's disk. False where the server cannot.
    pub async fn sync(&self) -> Result<bool, SftpError> {
        if !self.channel.has("fsync@openssh.com") {
            return Ok(false);
        }
        let sync = self.channel.raw.fsync(self.handle());
        self.channel.ask(self.doing("fsync"), sync).await.map(|_| true)
    }

    /// Closes a file that was written, because a server may report the loss of data only now.
    pub async fn close(mut self) -> Result<(), SftpError> {
        let handle = self.handle.take().unwrap_or_default();
        let close = self.channel.raw.close(handle);
        self.channel.ask(self.doing("close"), close).await.map(drop)
    }

    /// The largest write that the server takes.
    pub fn write_len(&self) -> usize {
        self.channel.write_len as usize
    }

    /// The error for a file that made no progress in time.
    pub fn stalled(&self, action: &'static str) -> SftpError {
        self.channel.timed_out(self.doing(action))
    }

    /// How long a transfer may stand still.
    pub fn patience(&self) -> Duration {
        self.channel.link.timeouts.request
    }
}

/// A file that was only read, or whose user gave up: the close is sent, its answer not waited for.
impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            let _ = self.channel.raw.close(handle).now_or_never();
        }
    }
}
