//! Root becomes the daemon's user, and keeps the one capability, as systemd does it from version 229 on with `AmbientCapabilities=`.
//! Enterprise Linux 7 has systemd 219.

use std::io;

use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid, getuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, no_new_privs,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_res_uid,
};

use crate::owner::switch;

const KEPT: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;

/// Switches this process from root to a user and its groups, for ever. Called before there is a second thread, because the kernel
/// changes only the thread that asks.
pub fn become_user(name: &str) -> io::Result<()> {
    let user = uzers::get_user_by_name(name)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("this host has no user `{name}`")))?;
    let groups =
        user.groups().ok_or_else(|| io::Error::other(format!("cannot list the groups of `{name}`")))?;
    let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(group.gid())).collect();
    let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.primary_group_id()));
    if uid.is_root() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("the user `{name}` is root")));
    }
    set_keep_capabilities(true)?;
    switch(uid, gid, &groups)?;
    // The permitted capabilities have survived; the bounding set is changed with one of them.
    let permitted = capabilities(None)?.permitted;
    set_capabilities(None, CapabilitySets { effective: permitted, permitted, inheritable: KEPT })?;
    let all = (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit));
    for other in all.filter(|capability| *capability != KEPT) {
        match remove_capability_from_bounding_set(other) {
            // This kernel does not have it.
            Err(Errno::INVAL) => {}
            removed => removed?,
        }
    }
    set_capabilities(None, CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: KEPT })?;
    set_no_new_privs(true)?;
    verify(uid)
}

/// Root that is still within reach would be worse than a daemon that does not start.
fn verify(uid: Uid) -> io::Result<()> {
    let own = capabilities(None)?;
    let alone = CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: KEPT };
    let root = Uid::ROOT;
    let is_user = getuid() == uid && geteuid() == uid && set_thread_res_uid(root, root, root).is_err();
    let is_bounded = !capability_is_in_bounding_set(CapabilitySet::SETUID)?;
    if is_user && own == alone && is_bounded && no_new_privs()? {
        return Ok(());
    }
    Err(io::Error::other("the kernel did not take root's rights from this process"))
}
