//! An open file on a peer, which is closed however its user ends.

use std::sync::Arc;

use futures_util::FutureExt;
use russh_sftp::protocol::{FileAttributes, OpenFlags};
use tokio::sync::OwnedSemaphorePermit;

use super::{Doing, Sftp, SftpChannel, SftpError};

pub(crate) struct OpenFile {
    pub(super) channel: Arc<SftpChannel>,
    pub(super) path: String,
    /// None once closed.
    handle: Option<String>,
    _counted: OwnedSemaphorePermit,
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
        let counted = self.count_handle(path, action).await?;
        let opening = self.channel.raw.open(path, flags, attributes);
        let opened = self.channel.ask(Doing { action, path }, opening).await?;
        Ok(OpenFile::new(&self.channel, path, opened.handle, counted))
    }

    pub(super) async fn open_folder(&self, path: &str) -> Result<OpenFile, SftpError> {
        let doing = Doing { action: "list", path };
        let counted = self.count_handle(path, doing.action).await?;
        let opened = self.channel.ask(doing, self.channel.raw.opendir(path)).await?;
        Ok(OpenFile::new(&self.channel, path, opened.handle, counted))
    }

    /// Waits until one of the connection's file handles is free.
    async fn count_handle(
        &self,
        path: &str,
        action: &'static str,
    ) -> Result<OwnedSemaphorePermit, SftpError> {
        let handles = Arc::clone(&self.channel.handles);
        // Only a closed semaphore refuses, and nobody closes it.
        handles.acquire_owned().await.map_err(|closed| SftpError::Protocol {
            peer: self.peer().to_owned(),
            path: path.to_owned(),
            action,
            reason: closed.to_string(),
        })
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
    pub fn patience(&self) -> std::time::Duration {
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
