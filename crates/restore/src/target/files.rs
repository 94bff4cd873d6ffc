//! Puts files, directories and links in place. What already is as wanted stays untouched. A file is written under another name,
//! synced, and renamed; what was there gets a name aside before.

mod content;
mod existing;
#[cfg(test)]
mod tests;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;

use nightshift_core::restore::act::{FileKind, FileSpec, Outcome};
use nightshift_core::text::first_of;

use super::aside::{Kind, PREFIX, is_other_mount};
use super::attributes::{has_time, set_on_link, set_time};
use super::call::Call;
use super::dir::{Dir, file_type, split};
use super::error::TargetError;
use super::hold::DROP_IN;
use super::journal::Event;
use super::strays;
use wanted::{Target, targets};

pub fn put(call: &mut Call<'_, '_>, files: &[FileSpec]) -> Result<Outcome, TargetError> {
    let targets = targets(call, files)?;
    if call.was_started_since() {
        return report(call, &targets);
    }
    for target in &targets {
        call.changed |= match &target.spec.kind {
            FileKind::Directory => directory(call, target)?,
            FileKind::File { .. } | FileKind::Symlink { .. } => leaf(call, target)?,
        };
    }
    call.input.end()?;
    let known: BTreeMap<&str, &FileSpec> =
        targets.iter().map(|target| (target.relative, target.spec)).collect();
    strays::sort_out(call, &known)?;
    finish_directories(call, &targets)?;
    Ok(call.outcome())
}

/// Sets the times of directories, which every change of an entry has changed, and syncs all in which something was put: what a call
/// did that was killed may not be on disk.
fn finish_directories(call: &Call<'_, '_>, targets: &[Target<'_>]) -> Result<(), TargetError> {
    for target in targets.iter().filter(|target| target.spec.kind == FileKind::Directory) {
        if let Some(directory) = Dir::find(&call.host.root, target.relative)?
            && !has_time(&directory.stat()?, target.spec.modified)
        {
            set_time(&directory.file, &directory.path, target.spec.modified)?;
        }
    }
    let above = targets.iter().map(|target| split(target.relative).0);
    let directories = targets.iter().filter(|target| target.spec.kind == FileKind::Directory);
    let all: BTreeSet<&str> = above.chain(directories.map(|target| target.relative)).collect();
    for path in all {
        if let Some(directory) = Dir::find(&call.host.root, path)? {
            directory.sync()?;
        }
    }
    Ok(())
}

/// Puts a file or a link in place. Returns whether anything was changed.
fn leaf(call: &mut Call<'_, '_>, target: &Target<'_>) -> Result<bool, TargetError> {
    let (above, name) = split(target.relative);
    let parent = Dir::make(&call.host.root, above, None)?;
    let existing = parent.entry(name)?;
    if name == DROP_IN {
        call.note(format!("{} is a drop-in of this restore, and stays as it is", target.spec.path));
        content::skip(call, target.spec)?;
        return Ok(false);
    }
    if existing::is_as_wanted(&parent, name, existing.as_ref(), target)? {
        content::skip(call, target.spec)?;
        return Ok(false);
    }
    let temporary = format!("{PREFIX}{}.part", call.state.plan);
    let temporary = OsStr::new(&temporary);
    // What a call left that was killed.
    parent.remove(temporary)?;
    match &target.spec.kind {
        FileKind::Symlink { target: to } => {
            let link = parent.create_link(temporary, to)?;
            set_on_link(&parent, temporary, &link, &target.attributes, target.spec.modified)?;
        }
        FileKind::File { size, sha256 } => content::write(call, &parent, temporary, target, *size, *sha256)?,
        FileKind::Directory => return Ok(false),
    }
    let before = match &existing {
        Some(stat) => match call.aside().keep(Kind::Before, target.relative, &parent, stat) {
            Err(error) if is_other_mount(&error) && !file_type(stat).is_dir() => {
                parent.remove(temporary)?;
                call.note(format!("{} is a mount point, and stays as it is", target.spec.path));
                return Ok(false);
            }
            kept => Some(kept?),
        },
        // A call that was killed may have moved it.
        None => call.aside().newest(Kind::Before, target.relative, &parent)?.map(|found| found.path()),
    };
    let before = before.map(|before| call.shown(&before));
    call.log(Event::Placed { path: target.spec.path.clone(), before, sha256: None })?;
    parent.rename(temporary, &parent, name)?;
    Ok(true)
}

/// Creates a directory, or sets the attributes of one. Returns whether anything was changed.
fn directory(call: &mut Call<'_, '_>, target: &Target<'_>) -> Result<bool, TargetError> {
    let (above, name) = split(target.relative);
    let parent = Dir::make(&call.host.root, above, None)?;
    let existing = parent.entry(name)?;
    let path = target.spec.path.clone();
    let directory = match &existing {
        Some(stat) if file_type(stat).is_dir() => {
            let Some(directory) = parent.open(name)? else { return Ok(false) };
            let stat = directory.stat()?;
            if target.attributes.are_those_of(&directory.file, &stat) {
                return Ok(false);
            }
            let (uid, gid, mode) = (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777);
            call.log(Event::Adjusted { path, uid, gid, mode })?;
            directory
        }
        _ => {
            let before = match &existing {
                Some(stat) => Some(call.aside().take(Kind::Before, target.relative, &parent, stat)?),
                None => {
                    call.aside().newest(Kind::Before, target.relative, &parent)?.map(|found| found.path())
                }
            };
            let before = before.map(|before| call.shown(&before));
            call.log(Event::Placed { path, before, sha256: None })?;
            parent.create(name, 0o700)?
        }
    };
    target.attributes.set(&directory.file, &directory.path, None)?;
    Ok(true)
}

/// What was started since may have changed its files, and nightshift's own acts have: they are left as they are, and named.
fn report(call: &mut Call<'_, '_>, targets: &[Target<'_>]) -> Result<Outcome, TargetError> {
    let mut changed = Vec::new();
    for target in targets {
        let (above, name) = split(target.relative);
        let is_as_wanted = match Dir::find(&call.host.root, above)? {
            Some(parent) => existing::is_as_wanted(&parent, name, parent.entry(name)?.as_ref(), target)?,
            None => false,
        };
        if !is_as_wanted {
            changed.push(target.spec.path.as_str());
        }
        content::skip(call, target.spec)?;
    }
    call.input.end()?;
    if !changed.is_empty() {
        call.note(format!("changed since they were put in place, and left so: {}", first_of(&changed, ", ")));
    }
    Ok(call.outcome())
}
