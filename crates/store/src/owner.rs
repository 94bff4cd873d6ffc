//! The user that a command of root's runs as, as soon as it uses a directory of another user.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::fault::{IoContext as _, StoreError};

/// Makes a process of root's a process of this directory's owner, for good. A link that the owner has put into the directory then
/// leads to nothing that the owner cannot use anyway, and what the process creates belongs to the owner.
///
/// The kernel keeps the user of each thread, so this is for a process that has one thread.
pub fn become_owner_of(directory: &Path) -> Result<(), StoreError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let owner = match fs::metadata(directory) {
        Ok(owner) if owner.uid() != 0 => owner,
        // No other user has put anything there.
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).on("stat", directory),
    };
    let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    switch(uid, gid, &[]).on("become the owner of", directory)
}

/// Makes a process of root's a process of a user and its groups.
pub fn switch(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    if fs::read_dir("/proc/self/task")?.count() > 1 {
        return Err(io::Error::other("another thread would keep root's rights"));
    }
    set_thread_groups(groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    Ok(set_thread_res_uid(uid, uid, uid)?)
}
