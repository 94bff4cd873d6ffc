//! Stopping what runs on a machine, and the proof that it is stopped.

use std::time::Duration;

use nightshift_core::restore::act::Outcome;
use nightshift_core::restore::units::{KUBELET, names};
use nightshift_core::text::first_of;
use rustix::process::Signal;

use super::call::Call;
use super::error::TargetError;
use super::host::Host;
use super::journal::Event;
use super::systemd::{ActiveState, require_units};
use super::usage::Signs;
use super::{containers, manifests};

/// How long what a stopped unit ran may take to end.
const STOPPED_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a process of a pod may take to end after SIGTERM: as long as a kubelet gives it.
const POD_GRACE: Duration = Duration::from_secs(30);

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
    let (ports, data) = if runs_again.is_empty() { (ports, data) } else { Default::default() };
    stop_all(call, &units, &manifests, ports, data)?;
    if !runs_again.is_empty() {
        let started = first_of(&runs_again, ", ");
        call.note(format!("not stopped again, because a later step has started it: {started}"));
    }
    Ok(call.outcome())
}

/// Moves manifests away, stops units, and waits until nothing runs that ports, databases or the pods' processes show. A kubelet that is
/// stopped stops no pod, so it is the last one where there are pods.
pub fn stop_all(
    call: &mut Call<'_, '_>,
    units: &[&String],
    manifests: &[&String],
    ports: &[String],
    data: &[String],
) -> Result<(), TargetError> {
    manifests::move_away(call, manifests)?;
    let pods = manifests::pods(call, manifests)?;
    let kubelets = names(&KUBELET);
    let (last, first): (Vec<&String>, Vec<&String>) =
        units.iter().partition(|unit| !manifests.is_empty() && kubelets.contains(unit));
    stop_units(call, &first)?;
    let host = call.host;
    let signs = Signs { root: &host.root, ports, data, pods: &pods };
    if !pods.is_empty() && signs.wait(pod_timeout(host, &kubelets)?)?.is_some() {
        stop_units(call, &kubelets.iter().collect::<Vec<_>>())?;
        end_pods(call, &signs)?;
    }
    if let Some(reason) = signs.wait(STOPPED_TIMEOUT)? {
        return Err(TargetError::refused(format!(
            "not stopped within {} s: {reason}; stop it by hand, then repeat the step",
            STOPPED_TIMEOUT.as_secs()
        )));
    }
    stop_units(call, &last)
}

/// Nothing is waited for where no kubelet runs: an earlier step has stopped it.
fn pod_timeout(host: &Host<'_>, kubelets: &[String]) -> Result<Duration, TargetError> {
    for kubelet in kubelets {
        if host.systemd.unit(kubelet)?.active == ActiveState::Active {
            return Ok(host.pod_timeout);
        }
    }
    Ok(Duration::ZERO)
}

/// Ends the processes of pods without their kubelet, which does not do it while it has not reached its API server since it started
/// (docs/facts/kubernetes.md#static-pods).
fn end_pods(call: &mut Call<'_, '_>, signs: &Signs<'_>) -> Result<(), TargetError> {
    for signal in [Signal::TERM, Signal::KILL] {
        let processes = containers::processes(signs.root, signs.pods);
        containers::signal(&processes, signal);
        call.changed |= !processes.is_empty();
        if signs.wait(POD_GRACE)?.is_none() {
            break;
        }
    }
    call.note("the kubelet did not end its pods, so it was stopped, and their processes were ended");
    Ok(())
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
