//! The connection of a session, and the channels that are opened on it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nightshift_core::text::Text;
use russh::client::{Handle, Msg};
use russh::{Channel, ChannelMsg};
use tokio::time::timeout;

use super::host_key::HostKeyCheck;
use crate::endpoint::Timeouts;

/// Shared by a session and everything opened on it. The connection is closed when the last of them is dropped.
pub(crate) struct Link {
    pub(super) handle: Handle<HostKeyCheck>,
    pub peer: String,
    pub timeouts: Timeouts,
    pub(super) ended: Arc<OnceLock<String>>,
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
                Err(ChannelError::Refused(Text::new(&format!("{reason:?}")).into()))
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
