//! The inverses of a plan's acts, from the last to the first. What the plan has put in place is moved aside too, so that nothing is lost.

use nightshift_core::restore::act::Outcome;
use nightshift_core::text::first_of;
use rustix::fs::{Gid, Uid};

use super::aside::Kind;
use super::attributes::set_owner_and_mode;
use super::call::Call;
use super::dir::{Dir, file_type, relative, split};
use super::error::TargetError;
use super::journal::{Event, JournalLine};
use super::systemd::{ActiveState, require_units};
use super::{hold, stop};

/// Stops everything and keeps it from starting, whether or not a step of the plan has started it.
pub fn hold_and_stop(
    call: &mut Call<'_, '_>,
    units: &[String],
    pods: &[String],
    ports: &[String],
    data: &[String],
) -> Result<Outcome, TargetError> {
    require_units(units)?;
    // What runs then is what ran before the plan.
    if call.state.journal.is_undone() {
        return Ok(call.outcome());
    }
    hold::hold_all(call, units)?;
    let (units, manifests): (Vec<_>, Vec<_>) = (units.iter().collect(), pods.iter().collect());
    stop::stop_all(call, &units, &manifests, ports, data)?;
    Ok(call.outcome())
}

pub fn undo(call: &mut Call<'_, '_>) -> Result<Outcome, TargetError> {
    let mut left = Vec::new();
    for (line, JournalLine { act, event, .. }) in call.state.journal.to_undo() {
        match event {
            Event::Placed { path, before, .. } => {
                // A member's data is a directory that is moved as a whole.
                let is_data = act == "put-data";
                call.changed |= take_back(call, &path, before.as_deref(), is_data, &mut left)?;
            }
            Event::MovedAside { path, to } => call.changed |= move_back(call, &path, &to)?,
            Event::Adjusted { path, uid, gid, mode } => call.changed |= adjust(call, &path, uid, gid, mode)?,
            _ => {}
        }
        // A repetition must not take what was moved back for what the plan has placed.
        call.log(Event::Undone { line })?;
    }
    if !left.is_empty() {
        call.note(format!(
            "directories that the plan made, and that contain other files now, are left: {}",
            first_of(&left, ", ")
        ));
    }
    call.host.systemd.daemon_reload()?;
    Ok(call.outcome())
}

/// Moves what was placed aside, and what was there before back.
fn take_back(
    call: &mut Call<'_, '_>,
    path: &str,
    before: Option<&str>,
    is_data: bool,
    left: &mut Vec<String>,
) -> Result<bool, TargetError> {
    // Without it, this was undone by a call that was killed.
    if let Some(before) = before
        && !exists(call, before)?
    {
        return Ok(false);
    }
    let relative = relative(path)?;
    let (above, name) = split(relative);
    let Some(parent) = Dir::find(&call.host.root, above)? else { return Ok(false) };
    let mut changed = false;
    if let Some(stat) = parent.entry(name)? {
        if before.is_none() && file_type(&stat).is_dir() && !is_data {
            parent.remove_if_empty(name)?;
            if parent.entry(name)?.is_some() {
                left.push(path.to_owned());
                return Ok(false);
            }
        } else {
            call.aside().take(Kind::Undone, relative, &parent, &stat)?;
        }
        changed = true;
    }
    if let Some(before) = before {
        move_back(call, path, before)?;
        changed = true;
    }
    parent.sync()?;
    Ok(changed)
}

fn exists(call: &Call<'_, '_>, path: &str) -> Result<bool, TargetError> {
    let (above, name) = split(relative(path)?);
    let parent = Dir::find(&call.host.root, above)?;
    Ok(parent.map(|parent| parent.entry(name)).transpose()?.flatten().is_some())
}

/// Moves something back, if it is still aside and nothing else has its place.
fn move_back(call: &Call<'_, '_>, path: &str, aside: &str) -> Result<bool, TargetError> {
    let ((above, name), (from, kept)) = (split(relative(path)?), split(relative(aside)?));
    let Some(from) = Dir::find(&call.host.root, from)? else { return Ok(false) };
    if from.entry(kept)?.is_none() {
        return Ok(false);
    }
    let to = Dir::make(&call.host.root, above, None)?;
    if to.entry(name)?.is_some() {
        return Ok(false);
    }
    from.rename(kept, &to, name)?;
    to.sync()?;
    from.sync()?;
    Ok(true)
}

fn adjust(call: &Call<'_, '_>, path: &str, uid: u32, gid: u32, mode: u32) -> Result<bool, TargetError> {
    let Some(directory) = Dir::find(&call.host.root, relative(path)?)? else { return Ok(false) };
    let stat = directory.stat()?;
    if (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (uid, gid, mode) {
        return Ok(false);
    }
    let owner = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_owner_and_mode(&directory.file, &directory.path, owner, mode)?;
    Ok(true)
}

/// Lifts the hold, and starts what ran before the plan.
pub fn start(call: &mut Call<'_, '_>, units: &[String]) -> Result<Outcome, TargetError> {
    require_units(units)?;
    call.changed |= hold::lift(&call.host.root, units)?;
    call.host.systemd.daemon_reload()?;
    let ran = call.state.journal.stopped();
    let mut stopped = Vec::new();
    for unit in ran.iter().filter(|unit| units.contains(unit)) {
        if call.host.systemd.unit(unit)?.active != ActiveState::Active {
            stopped.push(unit.as_str());
        }
    }
    if !stopped.is_empty() {
        call.host.systemd.start_no_block(&stopped)?;
        call.changed = true;
        call.note(format!("started: {}", first_of(&stopped, ", ")));
    }
    Ok(call.outcome())
}

#[cfg(test)]
mod tests {
    use nightshift_core::restore::act::Act;

    use super::super::ActiveState::{Active, Stopped};
    use super::super::crash;
    use super::super::testing::{Machine, file};

    const UNITS: [&str; 2] = ["etcd.service", "api.service"];

    fn units() -> Vec<String> {
        UNITS.map(str::to_owned).into()
    }

    /// A machine on which a plan was carried out, as far as its files and units go.
    fn restored() -> Machine {
        let machine = Machine::with(&[("etcd.service", Active), ("api.service", Stopped)]);
        machine.write("/etc/a", "old a");
        machine.write("/etc/pods/stray.yaml", "stray");
        machine.call("3.1", Act::Hold { units: units() }).unwrap();
        let stop = Act::Stop { units: units(), manifests: Vec::new(), ports: Vec::new(), data: Vec::new() };
        machine.call("3.2", stop).unwrap();
        let files = vec![file("/etc/a", "new a"), file("/etc/made/b", "new b")];
        machine.call_with("4.1", Act::PutFiles { files }, b"new anew b").unwrap();
        machine.call("4.2", Act::Start { units: units(), manifests: Vec::new() }).unwrap();
        machine
    }

    fn undo(machine: &Machine) -> Result<(), String> {
        let stop =
            Act::UndoStop { units: units(), manifests: Vec::new(), ports: Vec::new(), data: Vec::new() };
        machine.call("1.1", stop)?;
        machine.call("2.1", Act::Undo)?;
        machine.call("3.1", Act::UndoStart { units: units() })?;
        machine.call("4.1", Act::Finish).map(drop)
    }

    #[test]
    fn a_plan_is_undone_and_what_it_placed_is_kept_aside() {
        let machine = restored();
        undo(&machine).unwrap();
        assert_eq!(
            (machine.read("/etc/a"), machine.path("/etc/made/b").exists()),
            ("old a".to_owned(), false)
        );
        assert_eq!(machine.read(&machine.aside("undone", "/etc/a")), "new a");
        assert_eq!(machine.systemd.state("etcd.service"), Active, "it ran before");
        assert_eq!(machine.systemd.state("api.service"), Stopped, "it did not");
        assert!(!machine.path("/var/lib/nightshift-restore/hold").exists());
    }

    #[test]
    fn what_the_plan_had_not_reached_runs_again_after_the_undo_and_a_repetition_stops_nothing() {
        let machine = Machine::with(&[("etcd.service", Active), ("api.service", Active)]);
        machine.call("3.1", Act::Hold { units: units() }).unwrap();
        undo(&machine).unwrap();
        assert!(UNITS.iter().all(|unit| machine.systemd.state(unit) == Active));
        machine.systemd.take_requests();
        undo(&machine).unwrap();
        let stops: Vec<String> = machine
            .systemd
            .take_requests()
            .into_iter()
            .filter(|request| request.starts_with("stop"))
            .collect();
        assert!(stops.is_empty(), "{stops:?}");
    }

    #[test]
    fn an_undo_that_is_killed_at_any_change_ends_the_same() {
        for changes in 0.. {
            let machine = restored();
            let (killed, _) = crash::after(changes, || undo(&machine));
            if killed {
                undo(&machine).unwrap_or_else(|error| panic!("{changes}: {error}"));
            }
            assert_eq!(machine.read("/etc/a"), "old a", "{changes}");
            assert!(!machine.path("/etc/made/b").exists(), "{changes}");
            if !killed {
                assert!(changes > 5, "too few changes were tried: {changes}");
                break;
            }
        }
    }
}
