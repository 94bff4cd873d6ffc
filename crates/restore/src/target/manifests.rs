//! Static pods: the kubelet ends a pod when its manifest is moved out of its directory, and starts it when it is back. It reads
//! every file in the directory that is not hidden, whatever its name ends with.

use super::aside::Kind;
use super::call::Call;
use super::containers::PodName;
use super::dir::{Dir, file_type, relative, split};
use super::error::TargetError;
use super::journal::Event;

/// Moves manifests away, those that exist.
pub fn move_away(call: &mut Call<'_, '_>, manifests: &[&String]) -> Result<(), TargetError> {
    for manifest in manifests {
        let path = relative(manifest)?;
        let (above, name) = split(path);
        let Some(parent) = Dir::find(&call.host.root, above)? else { continue };
        let Some(stat) = parent.entry(name)? else {
            // A call that was killed may have moved it, and neither have synced nor logged that.
            parent.sync()?;
            if let Some(found) = call.aside().newest(Kind::Manifests, path, &parent)? {
                let to = call.shown(&found.path());
                if !call.state.journal.has_moved(&to) {
                    call.log(Event::MovedAside { path: (*manifest).clone(), to })?;
                }
            }
            continue;
        };
        if !file_type(&stat).is_file() {
            return Err(TargetError::refused(format!(
                "{manifest} is not a regular file, so it is not moved: replace it by the manifest itself"
            )));
        }
        let to = call.aside().take(Kind::Manifests, path, &parent, &stat)?;
        call.changed = true;
        let to = call.shown(&to);
        call.note(format!("{manifest} is moved to {to} until its step"));
        call.log(Event::MovedAside { path: (*manifest).clone(), to })?;
    }
    Ok(())
}

/// The pods of manifests that were moved away.
pub fn pods(call: &Call<'_, '_>, manifests: &[&String]) -> Result<Vec<PodName>, TargetError> {
    let mut pods = Vec::new();
    for manifest in manifests {
        let path = relative(manifest)?;
        let Some(parent) = Dir::find(&call.host.root, split(path).0)? else { continue };
        let found = call.aside().newest(Kind::Manifests, path, &parent)?;
        pods.extend(found.and_then(|found| PodName::read(&found.path())));
    }
    Ok(pods)
}

/// Whether a manifest is in its place, or can be moved back there.
pub fn exists(call: &Call<'_, '_>, manifest: &str) -> Result<bool, TargetError> {
    let path = relative(manifest)?;
    let (above, name) = split(path);
    let Some(parent) = Dir::find(&call.host.root, above)? else { return Ok(false) };
    Ok(parent.entry(name)?.is_some() || call.aside().newest(Kind::Manifests, path, &parent)?.is_some())
}

/// Moves a manifest back. One that is in its place stays: the backup's own takes precedence.
pub fn move_back(call: &mut Call<'_, '_>, manifest: &str) -> Result<(), TargetError> {
    let path = relative(manifest)?;
    let (above, name) = split(path);
    let Some(parent) = Dir::find(&call.host.root, above)? else { return Ok(()) };
    if parent.entry(name)?.is_some() {
        parent.sync()?;
        return Ok(());
    }
    let Some(found) = call.aside().newest(Kind::Manifests, path, &parent)? else { return Ok(()) };
    found.directory.rename(&found.name, &parent, name)?;
    for directory in [&parent, &found.directory] {
        directory.sync()?;
    }
    call.changed = true;
    Ok(())
}
