//! The connection to the unit that sends notices: nightshift-notify.socket, one connection for each notice.

use std::io;
use std::path::Path;
use std::time::Duration;

use nightshift_core::notify::{Request, Response};
use nightshift_core::text::one_line;

use crate::unit_request::Unit;

pub const UNIT: Unit = Unit { name: "nightshift-notify", socket: "notify.sock" };
/// The unit ends by itself before (RuntimeMaxSec=).
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(150);

/// Sends one notice through the unit. An error of the connection is not that of the receiver.
pub async fn send(socket: &Path, request: &Request) -> io::Result<Response> {
    UNIT.request(socket, request, RESPONSE_TIMEOUT).await
}

/// Why a notice was not sent; `None` if the receiver has it.
pub fn failure(socket: &Path, sent: io::Result<Response>) -> Option<String> {
    match sent {
        Ok(Response::Sent) => None,
        Ok(Response::Failed(reason)) => Some(one_line(&reason)),
        Err(error) => Some(UNIT.explain(socket, &error)),
    }
}
