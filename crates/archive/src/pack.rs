//! Packs the sets of a night into one archive, and reads it back while it is written.

use std::io::{self, Read as _};
use std::thread;

use nightshift_core::archive::ArchiveName;
use nightshift_core::digest::{Digest, Hasher, Written};

use crate::compress::{Effort, Members};
use crate::damage::Damage;
use crate::error::PackError;
use crate::list::{self, Listing};
use crate::output::Output;
use crate::plan::{EntryKind, Plan, PlannedFile, open_regular};
use crate::request::PackRequest;
use crate::tar_writer::TarWriter;
use crate::unpack::Bound;

/// Bytes. A request to stop is checked before each piece of a file is written.
const PIECE: usize = 256 << 10;

/// An archive that was written and read back.
#[derive(Debug)]
pub struct Packed {
    pub name: ArchiveName,
    pub bytes: u64,
    pub sha256: Digest,
    /// Its content, as it was read back.
    pub listing: Listing,
    /// Files beside the sets that are not in the archive: they are neither signatures nor proofs.
    pub left_out: Vec<String>,
}

/// Writes the archive to `request.out`; the caller syncs that. Blocks, and uses one core for compression and one
/// for the check: call it on a thread of its own.
///
/// After an error the file is emptied: other tools would read an archive that is truncated between two members as a
/// complete one.
pub fn pack(request: &PackRequest, stop: &dyn Fn() -> bool) -> Result<Packed, PackError> {
    let packed = plan_and_pack(request, stop);
    if packed.is_err() {
        // The first error matters more, and the caller does not publish the file in either case.
        let _ = request.out.set_len(0);
    }
    packed
}

fn plan_and_pack(request: &PackRequest, stop: &dyn Fn() -> bool) -> Result<Packed, PackError> {
    let plan = Plan::of(request)?;
    let (from_writer, to_checker) = io::pipe().map_err(PackError::Checker)?;
    let output = Output::new(&request.out, &request.recipients, to_checker)?;
    let tar = TarWriter::new(Members::new(output, request.compression));
    let (written, checked) = thread::scope(|scope| {
        let name = &plan.name;
        let checker = thread::Builder::new()
            .name("archive-check".into())
            .spawn_scoped(scope, move || list::read(from_writer, name, Bound::None, &mut ()))
            .map_err(PackError::Checker)?;
        let written = write(&plan, tar, stop);
        Ok::<_, PackError>((written, checker.join()))
    })?;
    let checked = checked.map_err(|_| PackError::Checker(io::Error::other("its thread panicked")));
    let ((wrote, written), listing) = match (written, checked?) {
        // The checker ended early because it found a fault, which says more than the broken pipe.
        (Ok(_) | Err(PackError::Checker(_)), Err(fault)) => return Err(PackError::Unreadable(fault)),
        (written, checked) => (written?, checked.map_err(PackError::Unreadable)?),
    };
    // The listing was verified by the manifests in the archive, and these by its `archive.json`. If that is what was
    // planned, so is everything else.
    if listing.entries != wrote || listing.contents_sha256 != Digest::of(&plan.contents) {
        return Err(PackError::Unequal { wrote, read: listing.entries });
    }
    let Written { size: bytes, sha256 } = written;
    Ok(Packed { name: plan.name, bytes, sha256, listing, left_out: plan.left_out })
}

/// Writes all entries; returns how many there were.
fn write(
    plan: &Plan<'_>,
    mut tar: TarWriter<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<(u64, Written), PackError> {
    let mut buffer = vec![0; PIECE];
    let mut wrote = 0;
    for entry in plan.entries() {
        if stop() {
            return Err(PackError::Stopped);
        }
        tar.begin(&entry)?;
        match &entry.kind {
            EntryKind::Bytes(bytes) => {
                tar.data(Effort::Compress, bytes)?;
                tar.pad(bytes.len() as u64)?;
            }
            EntryKind::File(file) => {
                write_file(file, &mut tar, &mut buffer, stop)?;
                tar.pad(file.size)?;
            }
            EntryKind::Directory | EntryKind::Symlink(_) => {}
        }
        wrote += 1;
    }
    Ok((wrote, tar.end()?.finish()?.finish()?))
}

/// Writes exactly the planned bytes, or fails.
fn write_file(
    planned: &PlannedFile<'_>,
    tar: &mut TarWriter<'_>,
    buffer: &mut [u8],
    stop: &dyn Fn() -> bool,
) -> Result<(), PackError> {
    let damaged = |error| planned.set.damaged(&planned.path, error);
    let mut file = open_regular(&planned.on_disk).map_err(damaged)?;
    let effort = Effort::for_file(&planned.path, planned.size);
    let expected = planned.size;
    let (mut hasher, mut found) = (Hasher::default(), 0);
    loop {
        let length = match file.read(buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(damaged(Damage::Unreadable(error))),
        };
        found += length as u64;
        match length {
            0 if found < expected => return Err(damaged(Damage::Shorter { expected, found })),
            0 => break,
            _ if found > expected => return Err(damaged(Damage::Longer { expected })),
            _ if stop() => return Err(PackError::Stopped),
            _ => {}
        }
        hasher.update(&buffer[..length]);
        tar.data(effort, &buffer[..length])?;
    }
    let (expected, found) = (planned.sha256, hasher.finish());
    if expected == found { Ok(()) } else { Err(damaged(Damage::OtherContent { expected, found })) }
}
