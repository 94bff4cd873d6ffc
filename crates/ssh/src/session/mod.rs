//! One authenticated connection to a host whose key is pinned.

pub(crate) mod connect;
mod error;
pub mod exec;
pub(crate) mod greeting;
pub(crate) mod host_key;
mod link;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::Disconnect;
use tokio::time::timeout;
use tracing::debug;

pub use error::ConnectError;
pub(crate) use link::{ChannelError, Link, request_accepted};

use crate::bandwidth::Bandwidth;
use crate::endpoint::{Endpoint, Timeouts};
use crate::identity::Identity;
use crate::known_hosts::KnownHosts;
use crate::sftp::{Sftp, SftpError};

/// A logged-in connection. Each bulk transfer uses its own, because a slow channel delays the others of a connection.
#[derive(Clone)]
pub struct Session {
    link: Arc<Link>,
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
        self.sftp_within(Bandwidth::default()).await
    }

    /// The same, with the bytes of its files within a limit.
    pub async fn sftp_within(&self, bandwidth: Bandwidth) -> Result<Sftp, SftpError> {
        Sftp::open(Arc::clone(&self.link), bandwidth).await
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
