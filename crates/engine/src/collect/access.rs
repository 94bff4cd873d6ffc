//! Reads who may use a file beyond its mode.

use std::os::fd::AsFd;

use nightshift_core::access::{Access, Acl, Capability, InvalidAccess};
use rustix::buffer::spare_capacity;
use rustix::fs::fgetxattr;
use rustix::io::Errno;

/// Bytes: enough for a hundred users in an ACL.
const USUAL_LEN: usize = 1 << 10;
/// Linux stores no more (XATTR_SIZE_MAX).
const MAX_LEN: usize = 64 << 10;

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
    let value = match value(file, name) {
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

fn value(file: impl AsFd, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = Vec::with_capacity(USUAL_LEN);
    match fgetxattr(&file, name, spare_capacity(&mut value)) {
        Err(Errno::RANGE) => {
            value.reserve(MAX_LEN);
            fgetxattr(&file, name, spare_capacity(&mut value))?;
        }
        read => drop(read?),
    }
    Ok(value)
}
