//! The connection to the unit that runs hooks: nightshift-hook.socket, one connection for each run. When the connection ends, the unit
//! kills what it runs, so that a hook never runs twice at the same time.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nightshift_core::hook::{Ending, Hook, Request, Response};
use nightshift_core::night::Night;
use nightshift_core::outcome::Outcome;
use nightshift_core::record::HookReport;
use nightshift_core::settings::Settings;
use nightshift_core::text::one_line;

use crate::unit_request::Unit;

pub const UNIT: Unit = Unit { name: "nightshift-hook", socket: "hook.sock" };
/// The time for systemd to start the unit, and for the unit to answer, beside the timeout of the hook.
const UNIT_GRACE: Duration = Duration::from_secs(60);

/// Runs a hook to its end. An error of the connection is not that of its program.
pub async fn request(
    socket: &Path,
    hook: &Hook,
    night: Night,
    outcome: Option<Ending>,
) -> io::Result<Response> {
    let request = Request { hook: hook.name.clone(), at: hook.at, night, outcome };
    UNIT.request(socket, &request, hook.timeout + UNIT_GRACE).await
}

/// Why a hook failed; `None` if it succeeded.
pub fn failure(socket: &Path, ended: io::Result<Response>) -> Option<String> {
    match ended {
        Ok(Response::Succeeded) => None,
        Ok(Response::Failed(reason)) => Some(one_line(&reason)),
        Err(error) => Some(UNIT.explain(socket, &error)),
    }
}

pub(crate) async fn run(
    settings: &Settings,
    hook: &Hook,
    night: Night,
    outcome: Option<Ending>,
) -> HookReport {
    let (begun, socket) = (Instant::now(), UNIT.socket(settings));
    let reason = failure(&socket, request(&socket, hook, night, outcome).await);
    HookReport {
        ended: Some(Timestamp::now()),
        outcome: Some(if reason.is_none() { Outcome::Done } else { Outcome::Failed }),
        reason,
        duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        ..HookReport::due(hook)
    }
}
