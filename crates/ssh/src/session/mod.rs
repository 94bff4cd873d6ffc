//! One authenticated connection to a host whose key is pinned.

pub(crate) mod connect;
mod error;
pub mod exec;
pub(crate) mod host_key;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{Channel, ChannelMsg, Disconnect};
use tokio::time::timeout;
use tracing::debug;

pub use error::ConnectError;
use host_key::HostKeyCheck;

use crate::endpoint::{Endpoint, Timeouts};
use crate::identity::Identity;
use crate::known_hosts::KnownHosts;
use crate::sftp::{Sftp, SftpError};

/// A logged-in connection. Bulk transfers get one each: within a connection a slow channel holds up the others.
#[derive(Clone)]
pub struct Session {
    link: Arc<Link>,
}

/// What a session and everything opened on it share; the connection ends with the last of them.
pub(crate) struct Link {
    handle: Handle<HostKeyCheck>,
    pub peer: String,
    pub timeouts: Timeouts,
    ended: Arc<OnceLock<String>>,
}

impl Link {
    /// Why the connection is gone.
    pub fn end_reason(&self) -> String {
        match self.ended.get() {
            Some(reason) => reason.clone(),
            None if self.handle.is_closed() => "the connection was closed".into(),
            None => "the peer closed the channel".into(),
        }
    }

    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Opens a channel, waiting no longer than for any other answer.
    pub async fn open_channel(&self) -> Result<Channel<Msg>, ChannelError> {
        match timeout(self.timeouts.request, self.handle.channel_open_session()).await {
            Err(_) => Err(ChannelError::Timeout(self.timeouts.request)),
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
                Err(ChannelError::Refused(format!("{reason:?}")))
            }
            Ok(Err(_)) => Err(ChannelError::Disconnected(self.end_reason())),
        }
    }
}

pub(crate) enum ChannelError {
    Timeout(Duration),
    Refused(String),
    Disconnected(String),
}

impl Session {
    /// Connects, checks the host key against `known_hosts`, and logs in.
    pub async fn connect(
        endpoint: &Endpoint,
        identity: &Identity,
        known_hosts: &KnownHosts,
        timeouts: &Timeouts,
    ) -> Result<Self, ConnectError> {
        let ended = Arc::new(OnceLock::new());
        let handle = connect::handshake(endpoint, known_hosts, timeouts, Arc::clone(&ended)).await?;
        let handle = connect::log_in(handle, endpoint, identity, timeouts, &ended).await?;
        Ok(Self { link: Arc::new(Link { handle, peer: endpoint.to_string(), timeouts: *timeouts, ended }) })
    }

    /// Starts the SFTP subsystem on a channel of its own.
    pub async fn sftp(&self) -> Result<Sftp, SftpError> {
        Sftp::open(Arc::clone(&self.link)).await
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.link.is_closed()
    }

    /// Says goodbye, so that the peer's log shows an orderly end. Dropping a session ends it as well.
    pub async fn close(&self) {
        let goodbye = self.link.handle.disconnect(Disconnect::ByApplication, "", "");
        match timeout(Duration::from_secs(1), goodbye).await {
            Ok(Ok(())) => {}
            // Gone already, or too busy to say so: the connection ends with its last user either way.
            _ => debug!(peer = %self.link.peer, "the connection ended before the goodbye"),
        }
    }
}

/// Waits for the answer to a channel request.
pub(crate) async fn request_accepted(channel: &mut Channel<Msg>) -> Option<bool> {
    loop {
        match channel.wait().await? {
            ChannelMsg::Success => return Some(true),
            ChannelMsg::Failure => return Some(false),
            ChannelMsg::Close => return None,
            _ => {}
        }
    }
}
