//! Reads who owns a file, and who may use it beyond its mode.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use nightshift_core::access::{Access, Acl, Capability, InvalidAccess};
use nightshift_core::owner::Owner;
use rustix::buffer::spare_capacity;
use rustix::fs::{fgetxattr, lgetxattr};
use rustix::io::Errno;

const SELINUX: &str = "security.selinux";

/// Bytes: enough for a hundred users in an ACL.
const USUAL_LEN: usize = 1 << 10;
/// Linux stores no more (XATTR_SIZE_MAX).
const MAX_LEN: usize = 64 << 10;

/// Owner and group with their names, because a rebuilt host may have other numbers.
pub fn owner(uid: u32, gid: u32) -> Owner {
    Owner {
        uid,
        gid,
        user: uzers::get_user_by_uid(uid).map(|user| user.name().to_string_lossy().into_owned()),
        group: uzers::get_group_by_gid(gid).map(|group| group.name().to_string_lossy().into_owned()),
    }
}

/// The SELinux label of an opened file or directory, if the file system stores labels.
pub fn label(file: impl AsFd) -> Option<String> {
    text(&value(|value| fgetxattr(&file, SELINUX, value)).ok()?)
}

/// The SELinux label of a link, which cannot be opened. The path has only components of the kernel's and the name itself, so no
/// other link is followed.
pub fn label_of_link(parent: &OwnedFd, name: &OsStr) -> Option<String> {
    let path = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name);
    text(&value(|value| lgetxattr(&path, SELINUX, value)).ok()?)
}

fn text(label: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(label).ok()?.trim_end_matches('\0').to_owned())
}

/// What an opened file or directory has, and why the rest is missing.
pub fn read(file: impl AsFd) -> (Access, Option<String>) {
    let mut faults = Vec::new();
    let acl = attribute(&file, "system.posix_acl_access", Acl::from_xattr, &mut faults);
    let default_acl = attribute(&file, "system.posix_acl_default", Acl::from_xattr, &mut faults);
    let capability = attribute(&file, "security.capability", Capability::from_xattr, &mut faults);
    (Access { acl, default_acl, capability }, (!faults.is_empty()).then(|| faults.join("; ")))
}

fn attribute<T>(
    file: impl AsFd,
    name: &str,
    read: impl Fn(&[u8]) -> Result<T, InvalidAccess>,
    faults: &mut Vec<String>,
) -> Option<T> {
    let value = match value(|value| fgetxattr(&file, name, value)) {
        Ok(value) => value,
        // It has none, or the file system stores none.
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return None,
        Err(errno) => {
            faults.push(format!("{name} is left out: {}", std::io::Error::from(errno)));
            return None;
        }
    };
    read(&value).map_err(|error| faults.push(format!("{name} is left out: {error}"))).ok()
}

fn value(
    read: impl Fn(rustix::buffer::SpareCapacity<'_, u8>) -> Result<usize, Errno>,
) -> Result<Vec<u8>, Errno> {
    let mut value = Vec::with_capacity(USUAL_LEN);
    match read(spare_capacity(&mut value)) {
        Err(Errno::RANGE) => {
            value.reserve(MAX_LEN);
            read(spare_capacity(&mut value))?;
        }
        read => drop(read?),
    }
    Ok(value)
}
