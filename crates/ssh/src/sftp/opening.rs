//! An open in progress, and what becomes of one whose user does not wait for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error as ProtocolError;
use russh_sftp::protocol::Handle;
use tokio::sync::OwnedSemaphorePermit;

/// The response to an open, with its permit: one of the connection's file handles.
pub(super) type Response = BoxFuture<'static, (Result<Handle, ProtocolError>, OwnedSemaphorePermit)>;

/// The responses to opens whose user was dropped. For each, the server may have a file open, which nothing else would close;
/// the next open closes them, because a server has few handles. Until then they keep their permits.
#[derive(Default)]
pub(super) struct Abandoned(Mutex<Vec<Response>>);

impl Abandoned {
    fn lock(&self) -> MutexGuard<'_, Vec<Response>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the files that have been opened in the meantime.
    pub(super) fn close(&self, raw: &RawSftpSession) {
        self.lock().retain_mut(|response| match response.now_or_never() {
            None => true,
            Some((opened, _permit)) => {
                if let Ok(opened) = opened {
                    let _ = raw.close(opened.handle).now_or_never();
                }
                false
            }
        });
    }
}

/// An open in progress. If it is dropped before the response arrived, it is added to `abandoned`.
pub(super) struct Opening<'a> {
    response: Option<Response>,
    abandoned: &'a Abandoned,
}

impl<'a> Opening<'a> {
    pub(super) fn new(response: Response, abandoned: &'a Abandoned) -> Self {
        Self { response: Some(response), abandoned }
    }

    pub(super) async fn response(&mut self) -> Result<(Handle, OwnedSemaphorePermit), ProtocolError> {
        let Some(response) = &mut self.response else { return Err(ProtocolError::UnexpectedPacket) };
        let (opened, permit) = response.await;
        self.response = None;
        opened.map(|handle| (handle, permit))
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.abandoned.lock().extend(self.response.take());
    }
}
