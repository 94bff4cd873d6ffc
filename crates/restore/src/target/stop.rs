//! Stopping what runs on a machine, and the proof that it is stopped.

use std::time::Duration;

use nightshift_core::restore::act::Outcome;
use nightshift_core::restore::units::{KUBELET, names};
use nightshift_core::text::first_of;

use super::call::Call;
use super::error::TargetError;
use super::journal::Event;
use super::manifests;
use super::systemd::{ActiveState, require_units};
use super::usage::wait_until_stopped;

/// How long what a stopped unit or a removed manifest ran may take to end: a kubelet notices a manifest within 20 s, and gives a
/// pod 30 s.
const STOPPED_TIMEOUT: Duration = Duration::from_secs(120);

pub fn stop(
    call: &mut Call<'_, '_>,
    units: &[String],
    manifests: &[String],
    ports: &[String],
    data: &[String],
) -> Result<Outcome, TargetError> {
    require_units(units)?;
    // A manifest that this plan has put in place starts its pod.
    let mut started = call.state.journal.started();
    started.extend(call.state.journal.placed());
    let is_started = |name: &&String| started.contains(name.as_str());
    let runs_again: Vec<String> = units.iter().chain(manifests).filter(is_started).cloned().collect();
    let units: Vec<&String> = units.iter().filter(|name| !is_started(name)).collect();
    let manifests: Vec<&String> = manifests.iter().filter(|name| !is_started(name)).collect();
    manifests::move_away(call, &manifests)?;
    let (ports, data) = if runs_again.is_empty() { (ports, data) } else { Default::default() };
    stop_all(call, &units, !manifests.is_empty(), ports, data)?;
    if !runs_again.is_empty() {
        let started = first_of(&runs_again, ", ");
        call.note(format!("not stopped again, because a later step has started it: {started}"));
    }
    Ok(call.outcome())
}

/// Stops units, and waits until nothing runs that their ports or databases show. A kubelet that is stopped stops no pod, so it is the last
/// one where there are pods.
pub fn stop_all(
    call: &mut Call<'_, '_>,
    units: &[&String],
    has_pods: bool,
    ports: &[String],
    data: &[String],
) -> Result<(), TargetError> {
    let kubelets = names(&KUBELET);
    let (last, first): (Vec<&String>, Vec<&String>) =
        units.iter().partition(|unit| has_pods && kubelets.contains(unit));
    stop_units(call, &first)?;
    wait_until_stopped(&call.host.root, ports, data, STOPPED_TIMEOUT)?;
    stop_units(call, &last)
}

fn stop_units(call: &mut Call<'_, '_>, units: &[&String]) -> Result<(), TargetError> {
    let systemd = call.host.systemd;
    let is_stopped = |state| [ActiveState::Stopped, ActiveState::Failed].contains(&state);
    for unit in units {
        let state = systemd.unit(unit)?;
        // A failed one may be about to be restarted.
        if state.active == ActiveState::Stopped {
            continue;
        }
        if state.active == ActiveState::Active {
            call.log(Event::Stopping { unit: (*unit).clone() })?;
        }
        systemd.stop(unit)?;
        call.changed |= !is_stopped(state.active);
    }
    for unit in units {
        let state = systemd.unit(unit)?.active;
        if !is_stopped(state) {
            return Err(TargetError::refused(format!(
                "{unit} is {state} after it was stopped; see `systemctl status {unit}`, then repeat the step"
            )));
        }
    }
    Ok(())
}
