//! Unpacks the data of a member.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Read as _};

use nightshift_core::access::Access;
use nightshift_core::digest::Digest;
use nightshift_store::member_tar::{MemberEntry, is_member_data, read_member};
use nightshift_store::{IoContext as _, StoreError, sync_file};
use rustix::fs::{Gid, Uid};

use super::attributes::Attributes;
use super::dir::{Dir, split};
use super::error::TargetError;
use super::exchange::{Exchange, short};

/// Who owns the data, and its label.
#[derive(Debug, Clone, Copy)]
pub struct DataOwner<'a> {
    pub owner: (Uid, Gid),
    pub selinux: Option<&'a str>,
}

impl DataOwner<'_> {
    pub fn attributes<'a>(&'a self, mode: u32, access: &'a Access) -> Attributes<'a> {
        Attributes { owner: self.owner, mode, selinux: self.selinux, access }
    }
}

/// Unpacks a tar of `member/` into an empty directory of root's, and syncs it. An error if its bytes are not the announced ones.
pub fn unpack(
    input: &mut Exchange<'_>,
    into: &Dir,
    size: u64,
    sha256: Digest,
    owner: DataOwner<'_>,
) -> Result<(), TargetError> {
    let mut directories = BTreeSet::new();
    let mut has_data = false;
    let read = read_member(input.by_ref().take(size), TargetError::Refused, |entry| {
        let directory = match &entry {
            MemberEntry::Directory(path) => *path,
            MemberEntry::File(path, _) => split(path).0,
        };
        let at = into.try_clone()?.make_below(directory, 0o700)?;
        let above = directory.match_indices('/').map(|(at, _)| directory[..at].to_owned());
        directories.extend(above.chain([directory.to_owned()]));
        if let MemberEntry::File(path, content) = entry {
            has_data |= is_member_data(path);
            write(&at, split(path).1, content, owner)?;
        }
        Ok(())
    })?;
    if read.size < size {
        return Err(short(size - read.size));
    }
    if read.sha256 != sha256 {
        return Err(TargetError::refused(format!(
            "the data that arrived has the SHA-256 {}, not {sha256}; repeat the step",
            read.sha256
        )));
    }
    if !has_data {
        return Err(TargetError::refused("the data contains neither a database nor a write-ahead log"));
    }
    let access = Access::default();
    for path in directories.iter().rev() {
        let directory = into.try_clone()?.make_below(path, 0o700)?;
        owner.attributes(0o700, &access).set(&directory.file, &directory.path, None)?;
        directory.sync()?;
    }
    Ok(into.sync()?)
}

fn write(at: &Dir, name: &OsStr, content: &mut dyn io::Read, owner: DataOwner<'_>) -> Result<(), StoreError> {
    let path = at.path.join(name);
    let mut file = at.create_file(name)?;
    io::copy(content, &mut file).on("write", &path)?;
    owner.attributes(0o600, &Access::default()).set(&file, &path, None)?;
    sync_file(&file).on("sync", &path)
}
