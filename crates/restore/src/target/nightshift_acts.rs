//! The last acts, on nightshift's own configuration: the program gives what they do.

use jiff::Timestamp;
use nightshift_core::backup::Backup;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::restore::act::{Outcome, Reply};
use nightshift_core::stage::Stage;
use nightshift_core::text::Text;

use super::call::Call;
use super::error::TargetError;
use super::exchange::Exchange;
use super::host::Host;
use super::journal::Event;

pub(super) const UNIT: &str = "nightshift.service";

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn failed(what: &'static str) -> impl Fn(Failure) -> TargetError {
    move |source| TargetError::Nightshift { what, source }
}

pub fn pin(call: &mut Call<'_, '_>, lines: &[String]) -> Result<Outcome, TargetError> {
    call.changed = call.host.nightshift.pin(lines).map_err(failed("cannot pin the host keys"))?;
    Ok(call.outcome())
}

pub fn identities(call: &mut Call<'_, '_>, remotes: &[String]) -> Result<Outcome, TargetError> {
    let made = call.host.nightshift.identities(remotes);
    let (changed, lines) = made.map_err(failed("cannot create nightshift's keys"))?;
    call.changed = changed;
    Ok(Outcome { lines, ..call.outcome() })
}

pub fn authorize(call: &mut Call<'_, '_>, lines: &[String]) -> Result<Outcome, TargetError> {
    call.changed =
        call.host.nightshift.authorize(lines).map_err(failed("cannot authorize the masters' keys"))?;
    Ok(call.outcome())
}

/// The night of another host than the one that the client means would count as that one's.
pub fn require_host(host: &Host<'_>, wanted: Option<&HostName>) -> Result<(), TargetError> {
    let Some(wanted) = wanted else { return Ok(()) };
    let this = host.nightshift.this().map_err(failed("cannot read the configuration"))?;
    if this == *wanted {
        return Ok(());
    }
    Err(TargetError::refused(format!(
        "{this} responded in place of {wanted}; check the address of {wanted} in [hosts], and your ssh's configuration"
    )))
}

pub fn free_night(host: &Host<'_>) -> Result<Outcome, TargetError> {
    let night = host.nightshift.free_night().map_err(failed("cannot read the recorded nights"))?;
    let lines = vec![night.to_string(), Timestamp::now().to_string()];
    Ok(Outcome { lines, ..Outcome::default() })
}

/// It changes nothing of the machine, so it has no journal. The client gives up a machine that sends no line for too long.
pub fn backup(
    host: &Host<'_>,
    exchange: &mut Exchange<'_>,
    night: Night,
    backup: Backup,
    wait: bool,
) -> Result<Outcome, TargetError> {
    let mut alive = || exchange.reply(&Reply::Progress { bytes: 0 });
    let report = host.nightshift.backup(night, backup, wait, &mut alive);
    let report = report.map_err(failed("the night did not run"))?;
    Ok(Outcome { changed: true, notes: std::iter::once(Text::from(report)).collect(), ..Outcome::default() })
}

/// A repetition with the same night does not open another, and returns the same report.
pub fn night(
    call: &mut Call<'_, '_>,
    stages: &[Stage],
    night: Option<Night>,
) -> Result<Outcome, TargetError> {
    if call.was_done()
        && let Some(report) = call.state.journal.night(night).cloned()
    {
        call.notes.push(report);
        return Ok(call.outcome());
    }
    // The cluster had nights, and its package leaves that to an operator.
    if !call.host.systemd.unit(UNIT)?.enabled {
        call.host.systemd.enable(UNIT)?;
    }
    call.host.systemd.start_no_block(&[UNIT])?;
    let report = call
        .host
        .nightshift
        .night(&call.state.plan.to_string(), stages, night)
        .map_err(failed("the extra night failed"))?;
    call.log(Event::Night { night, report: report.clone().into() })?;
    call.changed = true;
    call.note(report);
    Ok(call.outcome())
}
