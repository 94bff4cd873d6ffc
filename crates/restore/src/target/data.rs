//! Puts the data of a member in place: unpacked beside the old data, and renamed to `member`. The data directory itself may be a
//! mount point, and stays.

use std::ffi::OsStr;

use nightshift_core::access::Access;
use nightshift_core::digest::Digest;
use nightshift_core::etcd_facts::DataDirectory;
use nightshift_core::restore::act::Outcome;

use super::accounts::{ids, unknown};
use super::aside::{PREFIX, free_name};
use super::call::Call;
use super::dir::{Dir, relative};
use super::error::TargetError;
use super::journal::Event;
use super::unpack::{DataOwner, unpack};
use super::usage::is_in_use;

pub(super) const MEMBER: &str = "member";
const UNPACKED: &str = "new";

pub fn put(
    call: &mut Call<'_, '_>,
    directory: &DataDirectory,
    size: u64,
    sha256: Digest,
) -> Result<Outcome, TargetError> {
    let path = relative(&directory.path)?;
    let at = format!("/{path}/{MEMBER}");
    if is_placed(call, path, &at, sha256)? {
        call.input.skip(size)?;
        call.input.end()?;
        return Ok(call.outcome());
    }
    require_unused(call, path)?;
    let (data, owner) = prepare(call, directory, path)?;
    let work = work_name(call);
    let work = data.make_child(OsStr::new(&work), 0o700)?.require_own()?;
    call.log(Event::Unpacking { path: at.clone() })?;
    // What a call left that was killed.
    let unpacked = OsStr::new(UNPACKED);
    work.remove_tree(unpacked)?;
    let new = work.create(unpacked, 0o700)?;
    unpack(call.input, &new, size, sha256, owner)?;
    call.input.end()?;
    require_unused(call, path)?;
    replace(call, &data, &work, &new, &at, sha256)?;
    work.remove_tree(unpacked)?;
    call.changed = true;
    Ok(call.outcome())
}

/// Moves the data of a member aside, so that it starts with none.
pub fn set_aside(call: &mut Call<'_, '_>, directory: &DataDirectory) -> Result<Outcome, TargetError> {
    let path = relative(&directory.path)?;
    if call.was_done() {
        return Ok(call.outcome());
    }
    require_unused(call, path)?;
    let (data, _) = prepare(call, directory, path)?;
    let name = OsStr::new(MEMBER);
    if let Some(stat) = data.entry(name)? {
        let work = data.make_child(OsStr::new(&work_name(call)), 0o700)?.require_own()?;
        let before = work.make_child(OsStr::new("before"), 0o700)?;
        let (aside, _) = free_name(&before, name, &stat)?;
        let to = call.shown(&before.path.join(&aside));
        call.log(Event::MovedAside { path: format!("/{path}/{MEMBER}"), to: to.clone() })?;
        data.rename(name, &before, &aside)?;
        before.sync()?;
        data.sync()?;
        call.note(format!("the data that was there is kept at {to}"));
        call.changed = true;
    }
    Ok(call.outcome())
}

/// The data directory with its owner and mode.
fn prepare<'d>(
    call: &mut Call<'_, '_>,
    directory: &'d DataDirectory,
    path: &str,
) -> Result<(Dir, DataOwner<'d>), TargetError> {
    for name in unknown(call.host.accounts, &directory.owner) {
        call.note(format!("{name} does not exist here; the data gets its number as owner"));
    }
    let owner =
        DataOwner { owner: ids(call.host.accounts, &directory.owner), selinux: directory.selinux.as_deref() };
    let data = Dir::make(&call.host.root, path, None)?;
    let access = Access::default();
    let attributes = owner.attributes(directory.mode, &access);
    if !attributes.are_those_of(&data.file, &data.stat()?) {
        attributes.set(&data.file, &data.path, None)?;
    }
    Ok((data, owner))
}

/// Whether this data is in place: the journal has it as placed, and it is not where it was unpacked any more. The inode of the
/// directory would say less: an overlay file system gives it another one after a reboot.
fn is_placed(call: &Call<'_, '_>, path: &str, at: &str, sha256: Digest) -> Result<bool, TargetError> {
    let Some(data) = Dir::find(&call.host.root, path)? else { return Ok(false) };
    let (work, member) = (work_name(call), OsStr::new(MEMBER));
    let unpacked = match data.open(OsStr::new(&work))? {
        Some(work) => work.open(OsStr::new(UNPACKED))?.map(|new| new.entry(member)).transpose()?.flatten(),
        None => None,
    };
    if call.state.journal.placed_data(at) != Some(sha256)
        || unpacked.is_some()
        || data.entry(member)?.is_none()
    {
        return Ok(false);
    }
    // A call that was killed may not have synced it.
    data.sync()?;
    Ok(true)
}

fn work_name(call: &Call<'_, '_>) -> String {
    format!("{PREFIX}{}", call.state.plan)
}

fn require_unused(call: &Call<'_, '_>, path: &str) -> Result<(), TargetError> {
    if is_in_use(&call.host.root, &format!("/{path}"))? {
        return Err(TargetError::refused(format!(
            "a process has the database in /{path} open, so its data is not replaced; stop etcd, then repeat the step"
        )));
    }
    Ok(())
}

fn replace(
    call: &mut Call<'_, '_>,
    data: &Dir,
    work: &Dir,
    new: &Dir,
    at: &str,
    sha256: Digest,
) -> Result<(), TargetError> {
    let name = OsStr::new(MEMBER);
    let before = work.make_child(OsStr::new("before"), 0o700)?;
    let old = data.entry(name)?;
    let aside = match &old {
        Some(stat) => Some(free_name(&before, name, stat)?.0),
        // A call that was killed has moved it.
        None => newest(&before)?,
    };
    let moved_to = aside.as_ref().map(|aside| call.shown(&before.path.join(aside)));
    call.log(Event::Placed { path: at.to_owned(), before: moved_to.clone(), sha256: Some(sha256) })?;
    if let (Some(_), Some(aside)) = (&old, &aside) {
        data.rename(name, &before, aside)?;
        before.sync()?;
    }
    new.rename(name, data, name)?;
    for directory in [new, data] {
        directory.sync()?;
    }
    if let Some(moved_to) = moved_to {
        call.note(format!("the data that was there is kept at {moved_to}"));
    }
    Ok(())
}

/// The newest data that was moved aside.
fn newest(before: &Dir) -> Result<Option<std::ffi::OsString>, TargetError> {
    let mut names = before.names()?;
    names.sort_by_key(|name| (name.len(), name.clone()));
    Ok(names.pop())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use nightshift_core::restore::act::Act;

    use super::*;
    use crate::target::crash;
    use crate::target::testing::{Machine, PLAN, files_with, owner};

    const DATA: &str = "/var/lib/etcd";
    const DB: &str = "/var/lib/etcd/member/snap/db";

    fn tar(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o777);
            // By hand, because the library refuses to write what it must refuse to read.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            tar.append(&header, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn member(database: &str) -> Vec<u8> {
        tar(&[("member/snap/db", database), ("member/wal/0.wal", "log")])
    }

    fn act(tar: &[u8]) -> Act {
        let owner = nightshift_core::owner::Owner { user: Some("etcd".to_owned()), uid: 7, ..owner() };
        let directory = DataDirectory { path: format!("{DATA}/").into(), owner, mode: 0o700, selinux: None };
        Act::PutData { directory, size: tar.len() as u64, sha256: Digest::of(tar) }
    }

    fn put(machine: &Machine, tar: &[u8]) -> Result<Outcome, String> {
        machine.call_with("4.3", act(tar), tar)
    }

    fn kept(name: &str) -> String {
        format!("{DATA}/.nightshift-restore-{PLAN}/before/{name}/snap/db")
    }

    #[test]
    fn data_is_put_in_place_once_and_what_was_there_is_kept() {
        let machine = Machine::new();
        machine.write(DB, "old");
        machine.write("/var/lib/etcd/notes", "of the operator");
        let outcome = put(&machine, &member("new")).unwrap();
        assert!(outcome.changed && outcome.notes.summary().contains("before/member"), "{:?}", outcome.notes);
        assert_eq!((machine.read(DB), machine.read(&kept("member"))), ("new".to_owned(), "old".to_owned()));
        assert_eq!(machine.read("/var/lib/etcd/notes"), "of the operator");
        let mode = |path: &str| fs::metadata(machine.path(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(DATA), mode("/var/lib/etcd/member/wal"), mode(DB)), (0o700, 0o700, 0o600));
        assert_eq!(fs::metadata(machine.path(DB)).unwrap().uid(), owner().uid, "by name, not by number");

        // etcd has run on it since.
        machine.write(DB, "written to");
        assert!(!put(&machine, &member("new")).unwrap().changed);
        assert_eq!(machine.read(DB), "written to");
        assert!(put(&machine, &member("newer")).unwrap().changed);
        assert_eq!(
            (machine.read(DB), machine.read(&kept("member.2"))),
            ("newer".to_owned(), "written to".to_owned())
        );
    }

    #[test]
    fn the_data_of_an_etcd_that_runs_is_not_replaced() {
        let machine = Machine::new();
        machine.write(DB, "old");
        let database = fs::File::open(machine.path(DB)).unwrap();
        database.lock().unwrap();
        let error = put(&machine, &member("new")).unwrap_err();
        assert!(error.contains("stop etcd"), "{error}");
        assert_eq!(machine.read(DB), "old");
        drop(database);
        put(&machine, &member("new")).unwrap();
    }

    #[test]
    fn data_that_is_not_what_was_announced_replaces_nothing() {
        let machine = Machine::new();
        machine.write(DB, "old");
        let good = member("new");
        let refused = |act: Act, bytes: &[u8]| {
            let error = machine.call_with("4.3", act, bytes).unwrap_err();
            assert_eq!(machine.read(DB), "old", "{error}");
            error
        };
        let short = refused(act(&good), &good[..good.len() - 1]);
        assert!(short.contains("1 bytes too early"), "{short}");
        assert!(refused(act(&good), &good[..600]).contains("cannot unpack"));
        let mut flipped = good.clone();
        flipped[512] ^= 1;
        assert!(refused(act(&good), &flipped).contains("SHA-256"));
        assert!(refused(act(&good), &[&good[..], b"x"].concat()).contains("more bytes follow"));
        for (entry, reason) in [
            ("etc/passwd", "not a member's data"),
            ("member/../../x", "not a member's data"),
            ("/member/snap/db", "not a member's data"),
            ("member/notes", "neither a database nor a write-ahead log"),
        ] {
            let bad = tar(&[(entry, "x")]);
            let error = refused(act(&bad), &bad);
            assert!(error.contains(reason), "{entry}: {error}");
        }
        let twice = tar(&[("member/snap/db", "a"), ("member/snap/db", "b")]);
        assert!(refused(act(&twice), &twice).contains("cannot create"));
        put(&machine, &good).unwrap();
        assert_eq!(machine.read(DB), "new");
    }

    #[test]
    fn a_link_in_the_place_of_our_directory_is_not_followed() {
        let machine = Machine::new();
        machine.write(DB, "old");
        fs::create_dir(machine.path("/elsewhere")).unwrap();
        let work = machine.path(&format!("{DATA}/.nightshift-restore-{PLAN}"));
        std::os::unix::fs::symlink("../../../elsewhere", &work).unwrap();
        put(&machine, &member("new")).unwrap_err();
        fs::remove_file(&work).unwrap();
        fs::create_dir(&work).unwrap();
        fs::set_permissions(&work, fs::Permissions::from_mode(0o777)).unwrap();
        let error = put(&machine, &member("new")).unwrap_err();
        assert!(error.contains("another user can change it"), "{error}");
        assert_eq!(fs::read_dir(machine.path("/elsewhere")).unwrap().count(), 0);
        assert_eq!(machine.read(DB), "old");
    }

    #[test]
    fn data_that_is_put_in_place_after_a_kill_at_any_change_is_the_same() {
        for had_data in [true, false] {
            for changes in 0.. {
                let machine = Machine::new();
                if had_data {
                    machine.write(DB, "old");
                }
                let (killed, _) = crash::after(changes, || put(&machine, &member("new")));
                if killed {
                    put(&machine, &member("new")).unwrap_or_else(|error| panic!("{changes}: {error}"));
                }
                assert_eq!(machine.read(DB), "new", "{changes}");
                let old = files_with("old", machine.root.path());
                assert_eq!(old, usize::from(had_data), "{changes}: the old data is kept once");
                assert_eq!(files_with("new", machine.root.path()), 1, "{changes}: nothing half-made is left");
                assert!(!put(&machine, &member("new")).unwrap().changed, "{changes}");
                if !killed {
                    assert!(changes > 10, "too few changes were tried: {changes}");
                    break;
                }
            }
        }
    }
}
