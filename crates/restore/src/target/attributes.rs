//! Owner, mode, label, ACLs, capability and time of what an act puts in place.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;

use jiff::Timestamp;
use nightshift_core::access::{Access, Acl};
use nightshift_store::access::{self, label};
use nightshift_store::{IoContext as _, StoreError};
use rustix::fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::dir::Dir;

const ACCESS_ACL: &str = "system.posix_acl_access";
const DEFAULT_ACL: &str = "system.posix_acl_default";
const CAPABILITY: &str = "security.capability";
const LABEL: &str = "security.selinux";

/// What a file, directory or link must have.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    pub owner: (Uid, Gid),
    pub mode: u32,
    pub selinux: Option<&'a str>,
    pub access: &'a Access,
}

impl Attributes<'_> {
    /// Whether an opened file or directory has them, its time apart.
    pub fn are_those_of(&self, file: &File, stat: &Stat) -> bool {
        let (found, fault) = access::read(file);
        let mode = stat.st_mode & 0o7777;
        let mode = found.acl.as_ref().map_or(mode, |acl| acl.mode_without_it(mode));
        fault.is_none()
            && (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)) == self.owner
            && mode == self.mode
            && found == *self.access
            && self.selinux.is_none_or(|wanted| label(file).is_none_or(|found| found == wanted))
    }

    /// Sets them on an opened file or directory, the time last.
    pub fn set(&self, file: &File, at: &Path, modified: Option<Timestamp>) -> Result<(), StoreError> {
        set_owner_and_mode(file, at, self.owner, self.mode)?;
        let Access { acl, default_acl, capability } = self.access;
        set(file, ACCESS_ACL, acl.as_ref().map(Acl::to_xattr)).on("set the ACL of", at)?;
        set(file, DEFAULT_ACL, default_acl.as_ref().map(Acl::to_xattr)).on("set the ACL of", at)?;
        set(file, CAPABILITY, capability.as_ref().map(|capability| capability.as_bytes().to_vec()))
            .on("set the capability of", at)?;
        if let Some(wanted) = self.selinux {
            set_label(file, wanted).on("set the SELinux label of", at)?;
        }
        if let Some(modified) = modified {
            set_time(file, at, modified)?;
        }
        Ok(())
    }
}

pub fn set_owner_and_mode(
    file: &File,
    at: &Path,
    (user, group): (Uid, Gid),
    mode: u32,
) -> Result<(), StoreError> {
    rustix::fs::fchown(file, Some(user), Some(group)).on("change the owner of", at)?;
    // After the owner, whose change clears the set-id bits and the capability.
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).on("chmod", at)
}

/// Sets an extended attribute, or removes it.
fn set(file: &File, name: &str, value: Option<Vec<u8>>) -> Result<(), Errno> {
    match value {
        Some(value) => rustix::fs::fsetxattr(file, name, &value, XattrFlags::empty()),
        // It had none, or the file system stores none.
        None => match rustix::fs::fremovexattr(file, name) {
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::ACCESS | Errno::PERM | Errno::INVAL) => Ok(()),
            removed => removed,
        },
    }
}

/// Without an error where the file system stores no labels, or a container may not set them: the file is not left out for that, and
/// restorecon sets labels later.
fn set_label(file: &File, label: &str) -> Result<(), Errno> {
    let value = format!("{label}\0");
    match rustix::fs::fsetxattr(file, LABEL, value.as_bytes(), XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS | Errno::INVAL) => Ok(()),
        set => set,
    }
}

/// Sets owner, label and time of a link that was created with this name, and is opened as what it is.
pub fn set_on_link(
    directory: &Dir,
    name: &OsStr,
    link: &File,
    attributes: &Attributes<'_>,
    modified: Timestamp,
) -> Result<(), StoreError> {
    let path = directory.path.join(name);
    let (user, group) = attributes.owner;
    rustix::fs::chownat(link, "", Some(user), Some(group), AtFlags::EMPTY_PATH)
        .on("change the owner of", &path)?;
    if let Some(label) = attributes.selinux {
        let value = format!("{label}\0");
        let set = rustix::fs::lsetxattr(
            directory.by_descriptor(name),
            LABEL,
            value.as_bytes(),
            XattrFlags::empty(),
        );
        match set {
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS | Errno::INVAL) => {}
            set => set.on("set the SELinux label of", &path)?,
        }
    }
    rustix::fs::utimensat(&directory.file, name, &times(modified), AtFlags::SYMLINK_NOFOLLOW)
        .on("set the time of", &path)
}

pub fn set_time(file: &File, at: &Path, modified: Timestamp) -> Result<(), StoreError> {
    rustix::fs::futimens(file, &times(modified)).on("set the time of", at)
}

fn times(modified: Timestamp) -> Timestamps {
    let modified = timespec(modified);
    Timestamps { last_access: modified, last_modification: modified }
}

/// Before 1970 jiff's nanoseconds are negative, and the kernel's are not.
fn timespec(time: Timestamp) -> Timespec {
    let (seconds, nanoseconds) = (time.as_second(), i64::from(time.subsec_nanosecond()));
    if nanoseconds < 0 {
        Timespec { tv_sec: seconds - 1, tv_nsec: nanoseconds + 1_000_000_000 }
    } else {
        Timespec { tv_sec: seconds, tv_nsec: nanoseconds }
    }
}

pub fn has_time(stat: &Stat, modified: Timestamp) -> bool {
    let wanted = timespec(modified);
    // The type of the nanoseconds differs between architectures.
    (i128::from(stat.st_mtime), i128::from(stat.st_mtime_nsec))
        == (i128::from(wanted.tv_sec), i128::from(wanted.tv_nsec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_are_as_the_kernel_has_them() {
        let time: Timestamp = "1969-12-31T23:59:58.75Z".parse().unwrap();
        let Timespec { tv_sec, tv_nsec } = timespec(time);
        assert_eq!((tv_sec, tv_nsec), (-2, 750_000_000));
        let time: Timestamp = "2026-11-28T22:00:00.000000007Z".parse().unwrap();
        assert_eq!(timespec(time).tv_nsec, 7);
    }
}
