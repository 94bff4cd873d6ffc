//! Which files differ from those of a plan, with the content of small texts. Nothing is changed.

use std::io::Read as _;
use std::path::Path;

use nightshift_core::digest::{Digest, Hasher};
use nightshift_core::restore::act::{FileKind, FileSpec, MAX_LOOK, Outcome};
use nightshift_core::restore::difference::{Difference, MAX_SHOWN, Now, is_secret};
use nightshift_store::IoContext as _;

use super::dir::{Dir, file_type, relative, split};
use super::error::TargetError;
use super::host::Host;

/// Of all that one call shows, in bytes. In JSON they may be twice as long.
const MAX_TEXTS: u64 = 1 << 20;
const CHUNK: usize = 256 << 10;

pub fn look(host: &Host<'_>, files: &[FileSpec]) -> Result<Outcome, TargetError> {
    if files.len() > MAX_LOOK {
        return Err(TargetError::refused(format!("more than {MAX_LOOK} files in one request")));
    }
    let mut left = MAX_TEXTS;
    let mut differences = Vec::new();
    for file in files {
        if let Some(now) = differs(&host.root, file, &mut left)? {
            differences.push(Difference { path: file.path.clone(), now });
        }
    }
    Ok(Outcome { differences, ..Outcome::default() })
}

/// `None` if the content, or the link, is that of the plan.
fn differs(root: &Path, file: &FileSpec, left: &mut u64) -> Result<Option<Now>, TargetError> {
    let (parent, name) = split(relative(&file.path)?);
    let Some(directory) = Dir::find(root, parent)? else { return Ok(Some(Now::Absent)) };
    let Some(stat) = directory.entry(name)? else { return Ok(Some(Now::Absent)) };
    let there = file_type(&stat);
    match &file.kind {
        FileKind::Directory => Ok((!there.is_dir()).then_some(Now::OtherKind)),
        FileKind::Symlink { target } if there.is_symlink() => {
            let now = directory.read_link(name)?;
            let differs = now != target.as_bytes();
            Ok(differs.then(|| Now::Link(String::from_utf8_lossy(&now).into_owned())))
        }
        FileKind::File { size, sha256 } if there.is_file() => {
            let length = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
            // A file of another size is read only to show it.
            if length != *size && length > MAX_SHOWN {
                return Ok(Some(Now::NotShown));
            }
            let (digest, start) = read(&directory, name)?;
            Ok((digest != *sha256).then(|| shown(&file.path, start, length, left)))
        }
        FileKind::Symlink { .. } | FileKind::File { .. } => Ok(Some(Now::OtherKind)),
    }
}

/// The hash of a file, and its first bytes.
fn read(directory: &Dir, name: &std::ffi::OsStr) -> Result<(Digest, Vec<u8>), TargetError> {
    let path = directory.path.join(name);
    let mut file = directory.open_file(name)?;
    let (mut hasher, mut start, mut buffer) = (Hasher::default(), Vec::new(), vec![0; CHUNK]);
    loop {
        let length = file.read(&mut buffer).on("read", &path)?;
        if length == 0 {
            return Ok((hasher.finish(), start));
        }
        hasher.update(&buffer[..length]);
        if (start.len() as u64) < MAX_SHOWN {
            start.extend_from_slice(&buffer[..length]);
        }
    }
}

fn shown(path: &str, content: Vec<u8>, length: u64, left: &mut u64) -> Now {
    if is_secret(path, &content) {
        return Now::Secret;
    }
    match String::from_utf8(content) {
        Ok(text) if length <= MAX_SHOWN && length <= *left && !text.contains('\0') => {
            *left -= length;
            Now::Text(text)
        }
        _ => Now::NotShown,
    }
}
