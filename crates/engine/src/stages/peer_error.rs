//! What failed with a peer: whether to retry, and what an operator has to act on.

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::inventory::Host;
use nightshift_peers::{FetchError, ReachError};
use nightshift_ssh::SftpError;
use nightshift_store::StoreError;

use crate::context::StageContext;
use crate::stages::queue::Polled;

#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SftpError> for PeerError {
    fn from(error: SftpError) -> Self {
        Self::Reach(error.into())
    }
}

impl<T> From<PeerError> for Polled<T> {
    fn from(error: PeerError) -> Self {
        let is_permanent = match &error {
            PeerError::Reach(error) => error.is_permanent(),
            PeerError::Fetch(error) => error.is_refusal(),
            PeerError::Store(_) => false,
        };
        if is_permanent { Self::GiveUp(chain(&error)) } else { Self::Retry(chain(&error)) }
    }
}

/// Logs a changed host key and a refused login as events of their own, because an operator has to act on them.
pub fn log_refusal(ctx: &StageContext, host: &Host, error: &ReachError) {
    let ReachError::Connect(connect) = error else { return };
    if !connect.is_permanent() {
        return;
    }
    let kind = if connect.is_host_key() { Kind::HostKeyMismatch } else { Kind::LoginRefused };
    let reason = chain(error);
    ctx.log(Event {
        peer: Some(host.name.clone()),
        outcome: Some("failed"),
        reason: Some(reason.clone()),
        ..Event::error(kind, format!("{}: {reason}", host.name))
    });
}
