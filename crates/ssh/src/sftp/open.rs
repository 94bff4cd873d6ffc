//! An open file on a peer. It is closed when its user drops it, even while it is being opened.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use russh_sftp::client::error::Error as ProtocolError;
use russh_sftp::protocol::{FileAttributes, Handle, OpenFlags};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::opening::Opening;
use super::{FSYNC, Operation, Sftp, SftpChannel, SftpError};

pub(crate) struct OpenFile {
    pub(super) channel: Arc<SftpChannel>,
    pub(super) path: String,
    /// `None` once closed.
    handle: Option<String>,
    _permit: OwnedSemaphorePermit,
}

/// While an open waits for a free handle, how often it closes the files of abandoned opens.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

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
        self.opened(Operation { action, path }, async move { raw.open(name, flags, attributes).await }).await
    }

    pub(super) async fn open_dir(&self, path: &str) -> Result<OpenFile, SftpError> {
        let (raw, name) = (Arc::clone(&self.channel.raw), path.to_owned());
        self.opened(Operation { action: "list", path }, async move { raw.opendir(name).await }).await
    }

    async fn opened(
        &self,
        operation: Operation<'_>,
        open: impl Future<Output = Result<Handle, ProtocolError>> + Send + 'static,
    ) -> Result<OpenFile, SftpError> {
        let permit = self.acquire_handle(operation).await?;
        let response = async move { (open.await, permit) }.boxed();
        let mut opening = Opening::new(response, &self.channel.abandoned);
        let (opened, permit) = self.channel.request(operation, opening.response()).await?;
        Ok(OpenFile::new(&self.channel, operation.path, opened.handle, permit))
    }

    /// Waits until one of the connection's file handles is free.
    async fn acquire_handle(&self, operation: Operation<'_>) -> Result<OwnedSemaphorePermit, SftpError> {
        let free = async {
            loop {
                self.channel.abandoned.close(&self.channel.raw);
                let acquire = Arc::clone(&self.channel.handles).acquire_owned();
                // Acquiring fails only if the semaphore is closed, which never happens.
                if let Ok(Ok(permit)) = timeout(POLL_INTERVAL, acquire).await {
                    return permit;
                }
            }
        };
        let limit = self.channel.link.timeouts.request;
        timeout(limit, free).await.map_err(|_| self.channel.timed_out(operation))
    }
}

impl OpenFile {
    fn new(channel: &Arc<SftpChannel>, path: &str, handle: String, permit: OwnedSemaphorePermit) -> Self {
        Self { channel: Arc::clone(channel), path: path.to_owned(), handle: Some(handle), _permit: permit }
    }

    pub(super) fn handle(&self) -> &str {
        self.handle.as_deref().unwrap_or_default()
    }

    pub(super) fn operation(&self, action: &'static str) -> Operation<'_> {
        Operation { action, path: &self.path }
    }

    /// Waits until so many bytes may be sent within the limit of the bandwidth.
    pub async fn take_bandwidth(&self, bytes: u64) {
        self.channel.share.take(bytes).await;
    }

    /// Writes one block and waits for its acknowledgement. Callers run many of these in parallel.
    pub async fn write(&self, offset: u64, data: Vec<u8>) -> Result<(), SftpError> {
        let write = self.channel.raw.write(self.handle(), offset, data);
        write.await.map(drop).map_err(|error| self.channel.failed(self.operation("write"), error))
    }

    /// Syncs the written data to the server's disk. Returns false if the server cannot, and then does not request it again.
    pub async fn sync(&self) -> Result<bool, SftpError> {
        let synced = self.try_sync().await?;
        if !synced {
            self.channel.refuse(FSYNC);
        }
        Ok(synced)
    }

    /// Syncs a file or a directory, which not every server can. Some announce it and then refuse it, and a failure has the same
    /// code as a refusal.
    pub(super) async fn try_sync(&self) -> Result<bool, SftpError> {
        if !self.channel.has(FSYNC) {
            return Ok(false);
        }
        let sync = self.channel.raw.fsync(self.handle());
        match self.channel.request(self.operation("fsync"), sync).await {
            Ok(_) => Ok(true),
            Err(SftpError::Unsupported { .. } | SftpError::Failure { .. } | SftpError::Denied { .. }) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Closes a written file and waits for the response: a server may report a write error only on close.
    pub async fn close(mut self) -> Result<(), SftpError> {
        let handle = self.handle.take().unwrap_or_default();
        let close = self.channel.raw.close(handle);
        self.channel.request(self.operation("close"), close).await.map(drop)
    }

    /// The maximum size of a write request in bytes.
    pub fn write_len(&self) -> usize {
        self.channel.write_len as usize
    }

    /// The error for a file that made no progress in time.
    pub fn stalled(&self, action: &'static str) -> SftpError {
        self.channel.timed_out(self.operation(action))
    }

    /// The maximum time without progress in a transfer.
    pub fn progress_timeout(&self) -> Duration {
        self.channel.link.timeouts.request
    }

    /// Waits for the acknowledgement of the next of several writes.
    pub async fn acknowledged(
        &self,
        writes: &mut (impl Stream<Item = Result<(), SftpError>> + Unpin),
    ) -> Result<(), SftpError> {
        match timeout(self.progress_timeout(), writes.next()).await {
            Err(_) => Err(self.stalled("write")),
            Ok(written) => written.unwrap_or(Ok(())),
        }
    }
}

/// For a file that was only read, or whose user was dropped: the close is sent, but its response is not awaited.
impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            let _ = self.channel.raw.close(handle).now_or_never();
        }
    }
}
