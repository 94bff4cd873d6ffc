//! The bytes of the input that are a file's content.

use std::ffi::OsStr;
use std::io::{self, Read as _};

use nightshift_core::digest::{Digest, HashedWriter};
use nightshift_core::restore::act::{FileKind, FileSpec};
use nightshift_store::{IoContext as _, sync_file};

use super::wanted::Target;
use crate::target::call::Call;
use crate::target::dir::Dir;
use crate::target::error::TargetError;
use crate::target::exchange::short;

/// Reads the bytes of a file that is not written.
pub fn skip(call: &mut Call<'_, '_>, spec: &FileSpec) -> Result<(), TargetError> {
    match spec.kind {
        FileKind::File { size, .. } => call.input.skip(size),
        FileKind::Directory | FileKind::Symlink { .. } => Ok(()),
    }
}

/// Writes a new file under a temporary name, with its attributes, and syncs it. It is removed if its bytes are not the wanted ones.
pub fn write(
    call: &mut Call<'_, '_>,
    parent: &Dir,
    temporary: &OsStr,
    target: &Target<'_>,
    size: u64,
    sha256: Digest,
) -> Result<(), TargetError> {
    let path = parent.path.join(temporary);
    let mut written = HashedWriter::new(parent.create_file(temporary)?);
    io::copy(&mut call.input.by_ref().take(size), &mut written).on("write", &path)?;
    let (file, written) = written.finish();
    if written.size < size || written.sha256 != sha256 {
        parent.remove(temporary)?;
        return Err(if written.size < size {
            short(size - written.size)
        } else {
            let (path, found) = (&target.spec.path, written.sha256);
            TargetError::refused(format!(
                "{path} arrived with the SHA-256 {found}, not {sha256}; repeat the step"
            ))
        });
    }
    target.attributes.set(&file, &path, Some(target.spec.modified))?;
    Ok(sync_file(&file).on("sync", &path)?)
}
