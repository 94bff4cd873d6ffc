//! Starting what a step names, and waiting for it.

use std::thread;
use std::time::{Duration, Instant};

use nightshift_core::restore::act::Outcome;
use nightshift_core::text::first_of;

use super::call::Call;
use super::error::TargetError;
use super::host::Host;
use super::systemd::{ActiveState, Systemd, UnitState, require_units};
use super::usage::accepts;
use super::{hold, manifests, nightshift_acts};

const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Starts a member that a cold copy left stopped, and does nothing otherwise.
const AT_BOOT: &str = "nightshift-cold-copy-recover.service";
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// The units that exist, with their states: of several kinds, those that start at boot.
fn existing<'u>(
    systemd: &dyn Systemd,
    units: &'u [String],
) -> Result<Vec<(&'u str, UnitState)>, TargetError> {
    let mut existing = Vec::new();
    for unit in units {
        let state = systemd.unit(unit)?;
        if state.exists {
            existing.push((unit.as_str(), state));
        }
    }
    // A package may bring units of another layout, which are disabled beside those that the cluster uses.
    let runs_on = |(unit, state): &(&str, UnitState)| state.enabled && !state.oneshot && *unit != AT_BOOT;
    if existing.iter().any(runs_on) {
        existing.retain(|(_, state)| state.enabled || state.active == ActiveState::Active);
    }
    Ok(existing)
}

pub fn start(
    call: &mut Call<'_, '_>,
    units: &[String],
    manifests: &[String],
) -> Result<Outcome, TargetError> {
    require_units(units)?;
    let mut pods = Vec::new();
    for manifest in manifests {
        if manifests::exists(call, manifest)? {
            pods.push(manifest);
        } else {
            call.note(format!("{manifest} does not exist"));
        }
    }
    let found = existing(call.host.systemd, units)?;
    if found.is_empty() && pods.is_empty() && !(units.is_empty() && manifests.is_empty()) {
        let names: Vec<&String> = units.iter().chain(manifests).collect();
        return Err(TargetError::refused(format!(
            "none of these exists on this machine: {}; install what the cluster runs, then repeat the step",
            first_of(&names, ", ")
        )));
    }
    for manifest in pods {
        manifests::move_back(call, manifest)?;
    }
    call.changed |= hold::lift(&call.host.root, units)?;
    // A call that was killed may have removed the drop-ins, and systemd does not know.
    call.host.systemd.daemon_reload()?;
    // The step of the extra night enables nightshift, and an operator that unit, with cold copies.
    let is_for_others = |unit: &str| unit == nightshift_acts::UNIT || unit == AT_BOOT;
    let disabled: Vec<&str> = (found.iter())
        .filter(|(unit, state)| !state.enabled && !is_for_others(unit))
        .map(|(unit, _)| *unit)
        .collect();
    if !disabled.is_empty() {
        call.note(format!("disabled, so it does not start at boot: {}", first_of(&disabled, ", ")));
    }
    // What does its work at boot and ends is not started.
    let is_stopped = |(unit, state): &&(&str, UnitState)| {
        state.active != ActiveState::Active && !state.oneshot && *unit != AT_BOOT
    };
    let stopped: Vec<&str> = found.iter().filter(is_stopped).map(|(unit, _)| *unit).collect();
    if !stopped.is_empty() {
        call.host.systemd.start_no_block(&stopped)?;
        call.changed = true;
    }
    Ok(call.outcome())
}

/// Waits until all of the units that exist are active, and every port accepts connections.
pub fn wait(
    host: &Host<'_>,
    units: &[String],
    ports: &[String],
    timeout: Duration,
) -> Result<Outcome, TargetError> {
    require_units(units)?;
    let until = Instant::now() + timeout.min(MAX_WAIT);
    loop {
        let found = existing(host.systemd, units)?;
        let stopped = found.iter().find(|(_, state)| state.active != ActiveState::Active);
        let closed = ports.iter().find(|port| !accepts(port));
        if stopped.is_none() && closed.is_none() {
            let none = (found.is_empty() && !units.is_empty())
                .then_some("none of these units exists on this machine");
            return Ok(Outcome { notes: none.into_iter().collect(), ..Outcome::default() });
        }
        if Instant::now() >= until {
            let seconds = timeout.as_secs();
            let unit = stopped.map(|(unit, state)| {
                let last = host.systemd.last_line(unit).unwrap_or_else(|| "nothing".to_owned());
                format!("{unit} is {} after {seconds} s; it logged last: {last}", state.active)
            });
            let port = closed.map(|port| {
                format!("nothing accepts connections at {port} after {seconds} s; see the pod's log (`crictl ps -a`) and the kubelet's")
            });
            return Err(TargetError::refused(unit.or(port).unwrap_or_default()));
        }
        thread::sleep(POLL_INTERVAL);
    }
}
