//! Files of the machine in directories that the backup has as a whole, and that are in no set.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use nightshift_core::restore::act::{FileKind, FileSpec};
use nightshift_core::text::first_of;

use super::aside::{Kind, PREFIX};
use super::call::Call;
use super::dir::{Dir, file_type, split};
use super::error::TargetError;
use super::hold::DROP_IN;
use super::journal::Event;

/// Moves those aside whose presence has an effect: another static pod, another drop-in. The others are named.
pub fn sort_out(call: &mut Call<'_, '_>, known: &BTreeMap<&str, &FileSpec>) -> Result<(), TargetError> {
    let whole = known.iter().filter(|(_, spec)| spec.kind == FileKind::Directory);
    for (path, _) in whole {
        let Some(directory) = Dir::find(&call.host.root, path)? else { continue };
        let (mut moved, mut left) = (Vec::new(), Vec::new());
        for name in directory.names()? {
            let shown = name.to_string_lossy().into_owned();
            let relative = format!("{path}/{shown}");
            if is_known(known, &relative) || shown == DROP_IN || shown.starts_with(PREFIX) {
                continue;
            }
            let Some(stat) = directory.entry(&name)? else { continue };
            // A name that is not text is listed: the journal could not name it.
            if file_type(&stat).is_dir() || !has_effect(path) || name.to_str().is_none() {
                left.push(shown);
            } else if !call.state.journal.placed().contains(format!("/{relative}").as_str()) {
                let to = call.aside().take(Kind::Before, &relative, &directory, &stat)?;
                let to = call.shown(&to);
                call.log(Event::MovedAside { path: format!("/{relative}"), to })?;
                call.changed = true;
                moved.push(shown);
            }
        }
        if !moved.is_empty() {
            call.note(format!("in no set, so moved aside from /{path}: {}", first_of(&moved, ", ")));
        }
        if !left.is_empty() {
            call.note(format!("in no set, and left in /{path}: {}", first_of(&left, ", ")));
        }
    }
    Ok(())
}

/// Whether the backup has this path, or something below it.
fn is_known(known: &BTreeMap<&str, &FileSpec>, path: &str) -> bool {
    let below = format!("{path}/");
    known.contains_key(path)
        || known.range(below.as_str()..).next().is_some_and(|(next, _)| next.starts_with(&below))
}

/// Whether every file in such a directory is used, whatever its name.
fn has_effect(directory: &str) -> bool {
    let name = split(directory).1;
    let ends_in_d = name.to_str().is_some_and(|name| name.ends_with(".d"));
    [OsStr::new("pods"), OsStr::new("manifests")].contains(&name) || ends_in_d
}
