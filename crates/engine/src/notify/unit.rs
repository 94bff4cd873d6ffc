//! The connection to the unit that sends notices: nightshift-notify.socket, one connection for each notice.

use std::io;
use std::path::Path;
use std::time::Duration;

use nightshift_core::notify::{Exceptions, Request, Response};
use nightshift_core::text::one_line;

use crate::unit_request::Unit;

pub const UNIT: Unit = Unit { name: "nightshift-notify", socket: "notify.sock" };
/// The unit ends by itself before (RuntimeMaxSec=).
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(150);

/// Sends one notice through the unit. An error of the connection is not that of the receiver.
pub async fn send(socket: &Path, request: &Request) -> io::Result<Response> {
    UNIT.request(socket, request, RESPONSE_TIMEOUT).await
}

/// Why a notice was not sent; if the receiver has it, for whom it did not accept it.
pub fn outcome(socket: &Path, sent: io::Result<Response>) -> Result<Exceptions, String> {
    match sent {
        Ok(Response::Sent) => Ok(Exceptions::default()),
        Ok(Response::SentExcept(others)) => Ok(others),
        Ok(Response::Failed(reason)) => Err(one_line(&reason)),
        Err(error) => Err(UNIT.explain(socket, &error)),
    }
}
