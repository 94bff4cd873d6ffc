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

/// A logged-in connection. Each bulk transfer uses its own, because a slow channel delays the others of a connection.
#[derive(Clone)]
pub struct Session {
    link: Arc<Link>,
}

/// Shared by a session and everything opened on it. The connection is closed when the last of them is dropped.
pub(crate) struct Link {
    handle: Handle<HostKeyCheck>,
    pub peer: String,
    pub timeouts: Timeouts,
    ended: Arc<OnceLock<String>>,
}

impl Link {
    /// Why the connection ended.
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

    /// Opens a channel, with the timeout of a request.
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

    /// Starts the SFTP subsystem on a new channel.
    pub async fn sftp(&self) -> Result<Sftp, SftpError> {
        Sftp::open(Arc::clone(&self.link)).await
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.link.is_closed()
    }

    /// Sends a disconnect message, so that the peer logs a normal end. Dropping a session closes it too.
    pub async fn close(&self) {
        let disconnect = self.link.handle.disconnect(Disconnect::ByApplication, "", "");
        match timeout(Duration::from_secs(1), disconnect).await {
            Ok(Ok(())) => {}
            // It ended already, or it is too busy; it is closed when its last user drops it.
            _ => {
                debug!(peer = %self.link.peer, "the connection ended before the disconnect message was sent");
            }
        }
    }
}

/// Waits for the response to a channel request; `None` if the channel was closed.
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
