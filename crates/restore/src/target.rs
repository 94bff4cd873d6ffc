//! The acts on a machine that is rebuilt: what `ssh HOST nightshift restore act` does there, as root.
//!
//! One call does one act. An act looks at what is there, does what is missing, and looks again: a call that was killed at any
//! instant is completed by the same call. What it replaces is moved aside, and never removed.

mod accounts;
mod aside;
mod attributes;
mod call;
mod containers;
#[cfg(test)]
mod crash;
mod data;
mod dir;
mod error;
mod exchange;
mod facts;
mod files;
mod finish;
mod hold;
mod host;
pub mod idle;
mod journal;
mod look;
mod manifests;
mod nightshift_acts;
mod settle;
mod start;
mod state;
mod stop;
mod strays;
mod systemd;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod undo;
mod unpack;
mod usage;

use std::io::{Read, Write};
use std::time::Duration;

use nightshift_core::chain;
use nightshift_core::restore::act::{Act, Outcome, Reply, Request};

pub use self::accounts::{Accounts, SystemAccounts};
use self::call::Call;
pub use self::error::{TargetError, other_plan};
use self::exchange::Exchange;
pub use self::host::{Host, Nightshift};
pub use self::journal::{Event, JournalLine};
use self::state::State;
pub use self::systemd::{ActiveState, Systemctl, Systemd, UnitState};

/// How long an act waits for another one on the same machine to end.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads one request and its bytes, performs the act, and writes lines of replies; the last one is `Done` or `Failed`. The client
/// closes its end of the input after the last byte. An act continues to its end if the client is gone.
pub fn run(mut input: impl Read, mut output: impl Write, host: &Host<'_>) -> Result<(), TargetError> {
    let mut exchange = Exchange::new(&mut input, &mut output);
    match exchange.request().and_then(|request| perform(&request, &mut exchange, host)) {
        Ok(outcome) => {
            exchange.reply(&Reply::Done(Box::new(outcome)));
            Ok(())
        }
        Err(error) => {
            exchange.reply(&Reply::Failed { reason: chain(&error).into() });
            Err(error)
        }
    }
}

fn perform(request: &Request, exchange: &mut Exchange<'_>, host: &Host<'_>) -> Result<Outcome, TargetError> {
    match &request.act {
        // These change nothing, so they work beside another act.
        Act::Facts(wanted) => return facts::facts(host, wanted),
        _ if !host.is_root => return Err(TargetError::NotRoot),
        Act::HostKeys => return facts::host_keys(host),
        Act::FreeNight => {
            nightshift_acts::require_host(host, request.host.as_ref())?;
            return nightshift_acts::free_night(host);
        }
        Act::Backup { night, backup, wait } => {
            nightshift_acts::require_host(host, request.host.as_ref())?;
            return nightshift_acts::backup(host, exchange, *night, backup.clone(), *wait);
        }
        Act::Look { files } => return look::look(host, files),
        Act::Await { units, ports, seconds } => {
            return start::wait(host, units, ports, Duration::from_secs(*seconds));
        }
        _ => {}
    }
    let state = State::open(&host.root, &request.plan, LOCK_TIMEOUT)?;
    let mut call = Call::begin(host, exchange, state, request)?;
    let outcome = act(&mut call, &request.act);
    call.end(outcome)
}

fn act(call: &mut Call<'_, '_>, act: &Act) -> Result<Outcome, TargetError> {
    match act {
        Act::Hold { units } => hold::hold(call, units),
        Act::Stop { units, manifests, ports, data } => stop::stop(call, units, manifests, ports, data),
        Act::PutData { directory, size, sha256 } => data::put(call, directory, *size, *sha256),
        Act::SetAside { directory } => data::set_aside(call, directory),
        Act::PutFiles { files } => files::put(call, files),
        Act::Settle { paths } => settle::settle(call, paths),
        Act::Start { units, manifests } => start::start(call, units, manifests),
        Act::Pin { lines } => nightshift_acts::pin(call, lines),
        Act::Identities { remotes } => nightshift_acts::identities(call, remotes),
        Act::Authorize { lines } => nightshift_acts::authorize(call, lines),
        Act::Night { stages, night } => nightshift_acts::night(call, stages, *night),
        Act::UndoStop { units, manifests, ports, data } => {
            undo::hold_and_stop(call, units, manifests, ports, data)
        }
        Act::Undo => undo::undo(call),
        Act::UndoStart { units } => undo::start(call, units),
        Act::Finish => finish::finish(call),
        Act::Facts(_)
        | Act::Look { .. }
        | Act::HostKeys
        | Act::FreeNight
        | Act::Backup { .. }
        | Act::Await { .. } => Ok(Outcome::default()),
    }
}
