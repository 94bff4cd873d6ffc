//! Units that must not start until their step, also after a reboot: without this, a reboot in the middle starts an empty etcd that
//! accepts writes. An assertion, because it fails visibly; a condition would be skipped in silence.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nightshift_core::restore::act::Outcome;
use nightshift_core::text::first_of;
use nightshift_store::{IoContext as _, StoreError, sync_file};

use super::call::Call;
use super::dir::Dir;
use super::error::TargetError;
use super::systemd::require_units;

const UNITS: &str = "etc/systemd/system";
/// The name of the drop-in in a unit's directory.
pub const DROP_IN: &str = "50-nightshift-restore.conf";
const TEMPORARY: &str = ".50-nightshift-restore.part";
const CONTENT: &str = "# `nightshift restore` removes this file when it starts the unit.\n[Unit]\nAssertPathExists=!/var/lib/nightshift-restore/hold\n";
/// Of a drop-in of ours, in bytes.
const MAX_CONTENT: u64 = 4096;

pub fn hold(call: &mut Call<'_, '_>, units: &[String]) -> Result<Outcome, TargetError> {
    require_units(units)?;
    let started = call.state.journal.started();
    let (lifted, held): (Vec<&String>, Vec<&String>) =
        units.iter().partition(|unit| started.contains(unit.as_str()));
    if !lifted.is_empty() {
        call.note(format!(
            "not held again, because a later step has started it: {}",
            first_of(&lifted, ", ")
        ));
    }
    if !held.is_empty() {
        hold_all(call, held)?;
    }
    Ok(call.outcome())
}

/// Keeps units from starting, whether or not a step of the plan has started them.
pub fn hold_all<'u>(
    call: &mut Call<'_, '_>,
    units: impl IntoIterator<Item = &'u String>,
) -> Result<(), TargetError> {
    // First, so that a drop-in is never without effect.
    call.changed |= call.state.hold()?;
    for unit in units {
        call.changed |= put(&call.host.root, unit)?;
    }
    Ok(call.host.systemd.daemon_reload()?)
}

fn put(root: &Path, unit: &str) -> Result<bool, StoreError> {
    let directory = Dir::make(root, &format!("{UNITS}/{unit}.d"), None)?;
    let (name, temporary) = (OsStr::new(DROP_IN), OsStr::new(TEMPORARY));
    if directory.entry(name)?.is_some() {
        let file = directory.open_file(name)?;
        let content =
            nightshift_core::read_bounded(file, MAX_CONTENT).on("read", &directory.path.join(name))?;
        if content == CONTENT.as_bytes() {
            // A call that was killed may not have synced it.
            directory.sync()?;
            return Ok(false);
        }
    }
    directory.remove(temporary)?;
    let mut file = directory.create_file(temporary)?;
    let path = directory.path.join(temporary);
    file.write_all(CONTENT.as_bytes()).on("write", &path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o644)).on("chmod", &path)?;
    sync_file(&file).on("sync", &path)?;
    directory.rename(temporary, &directory, name)?;
    directory.sync()?;
    Ok(true)
}

/// Removes the drop-ins of these units. Returns whether there was one.
pub fn lift(root: &Path, units: &[String]) -> Result<bool, StoreError> {
    let mut was_held = false;
    let Some(all) = Dir::find(root, UNITS)? else { return Ok(false) };
    for unit in units {
        let name = format!("{unit}.d");
        let Some(directory) = all.open(OsStr::new(&name))? else { continue };
        if directory.entry(OsStr::new(DROP_IN))?.is_some() {
            directory.remove(OsStr::new(DROP_IN))?;
            was_held = true;
        }
        directory.sync()?;
        all.remove_if_empty(OsStr::new(&name))?;
    }
    all.sync()?;
    Ok(was_held)
}

/// The units that have a drop-in of ours.
pub fn held(root: &Path) -> Result<Vec<String>, StoreError> {
    let mut held = Vec::new();
    let Some(all) = Dir::find(root, UNITS)? else { return Ok(held) };
    for name in all.names()? {
        let Some(unit) = name.to_str().and_then(|name| name.strip_suffix(".d")) else { continue };
        // A link may lead to another unit's directory, which is in the list itself.
        let is_directory = all.entry(&name)?.is_some_and(|stat| super::dir::file_type(&stat).is_dir());
        if is_directory
            && let Some(directory) = all.open(&name)?
            && directory.entry(OsStr::new(DROP_IN))?.is_some()
        {
            held.push(unit.to_owned());
        }
    }
    Ok(held)
}
