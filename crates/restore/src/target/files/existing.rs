//! Whether what is on the machine already is as wanted.

use std::ffi::OsStr;
use std::io;

use nightshift_core::digest::{Digest, HashedWriter};
use nightshift_core::restore::act::FileKind;
use nightshift_store::{IoContext as _, StoreError};
use rustix::fs::{Gid, Stat, Uid};

use super::wanted::Target;
use crate::target::attributes::has_time;
use crate::target::dir::{Dir, file_type};

/// A directory's time is not compared: it changes with what is in it.
pub fn is_as_wanted(
    parent: &Dir,
    name: &OsStr,
    existing: Option<&Stat>,
    target: &Target<'_>,
) -> Result<bool, StoreError> {
    let Some(stat) = existing else { return Ok(false) };
    let kind = file_type(stat);
    match &target.spec.kind {
        FileKind::File { size, sha256 } => {
            if !kind.is_file()
                || u64::try_from(stat.st_size).ok() != Some(*size)
                || !has_time(stat, target.spec.modified)
            {
                return Ok(false);
            }
            let file = parent.open_file(name)?;
            Ok(target.attributes.are_those_of(&file, stat) && hash(parent, name, file)? == *sha256)
        }
        FileKind::Directory => {
            if !kind.is_dir() {
                return Ok(false);
            }
            let Some(directory) = parent.open(name)? else { return Ok(false) };
            Ok(target.attributes.are_those_of(&directory.file, &directory.stat()?))
        }
        FileKind::Symlink { target: to } => Ok(kind.is_symlink()
            && has_time(stat, target.spec.modified)
            && (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)) == target.attributes.owner
            && parent.read_link(name)? == to.as_bytes()),
    }
}

fn hash(parent: &Dir, name: &OsStr, mut file: std::fs::File) -> Result<Digest, StoreError> {
    let mut hashed = HashedWriter::new(io::sink());
    io::copy(&mut file, &mut hashed).on("read", &parent.path.join(name))?;
    Ok(hashed.finish().1.sha256)
}
