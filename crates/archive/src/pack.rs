//! Packs the sets of a night into one archive, and reads it back while it is written.

use std::io::{self, Read as _};
use std::thread;

use nightshift_core::archive::ArchiveName;
use nightshift_core::digest::{Digest, Hasher, Written};

use crate::compress::{Effort, Members};
use crate::damage::Damage;
use crate::error::{Halt, PackError};
use crate::list::{Listing, check_blocking};
use crate::plan::{EntryKind, Plan, PlannedFile, open_regular};
use crate::request::PackRequest;
use crate::seal::Output;
use crate::tar_writer::TarWriter;
use crate::unpack::Bound;

/// Files are read in such pieces, and a wish to stop is heard after each.
const PIECE: usize = 256 << 10;

/// An archive that was written and read back.
#[derive(Debug)]
pub struct Packed {
    pub name: ArchiveName,
    pub bytes: u64,
    pub sha256: Digest,
    /// What it holds, as it was read back.
    pub listing: Listing,
    /// Files beside the sets that are neither signature nor proof, and so are not in the archive.
    pub left_out: Vec<String>,
}

/// Writes the archive to `request.out`; the caller syncs that. Blocks, and uses one core for compression and one
/// for the check, so it belongs on a thread of its own.
///
/// After an error the file is empty: an archive that was cut off between two members would pass for a
/// whole one with other tools.
pub fn pack(request: &PackRequest, stop: &dyn Fn() -> bool) -> Result<Packed, PackError> {
    let packed = plan_and_pack(request, stop);
    if packed.is_err() {
        // The error at hand is the one to tell, and a file that cannot be emptied is not published either.
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
            .spawn_scoped(scope, move || check_blocking(from_writer, name, Bound::None))
            .map_err(PackError::Checker)?;
        let written = write(&plan, tar, stop);
        Ok((written, checker.join()))
    })?;
    let checked = checked.map_err(|_| PackError::Checker(io::Error::other("its thread died")));
    let (wrote, written, listing) = match (written, checked) {
        (Err(Halt::Failed(why)), _) | (_, Err(why)) => return Err(why),
        (_, Ok(Err(why))) => return Err(PackError::Unreadable(why)),
        (Err(Halt::CheckerEnded), Ok(Ok(_))) => {
            return Err(PackError::Checker(io::Error::other("it ended before the archive did")));
        }
        (Ok((wrote, written)), Ok(Ok(listing))) => (wrote, written, listing),
    };
    // The listing was checked against the manifests in the archive, and these against its `archive.json`:
    // if that is the one which was written, all the rest is.
    if listing.entries != wrote || listing.contents_sha256 != Digest::of(&plan.contents) {
        return Err(PackError::Unequal { wrote, read: listing.entries });
    }
    let Written { size: bytes, sha256 } = written;
    Ok(Packed { name: plan.name, bytes, sha256, listing, left_out: plan.left_out })
}

/// Writes all entries; returns how many there were.
fn write(plan: &Plan<'_>, mut tar: TarWriter<'_>, stop: &dyn Fn() -> bool) -> Result<(u64, Written), Halt> {
    let mut buffer = vec![0; PIECE];
    let mut wrote = 0;
    for entry in plan.entries() {
        if stop() {
            return Err(PackError::Stopped.into());
        }
        tar.begin(&entry)?;
        match &entry.kind {
            EntryKind::Bytes(bytes) => {
                tar.data(Effort::Squeeze, bytes)?;
                tar.pad(bytes.len() as u64)?;
            }
            EntryKind::File(file) => {
                write_file(file, &mut tar, &mut buffer, stop)?;
                tar.pad(file.size)?;
            }
            EntryKind::Folder | EntryKind::Symlink(_) => {}
        }
        wrote += 1;
    }
    Ok((wrote, tar.end()?.finish()?.finish()?))
}

/// Writes exactly as many bytes as were announced, or gives the archive up.
fn write_file(
    planned: &PlannedFile<'_>,
    tar: &mut TarWriter<'_>,
    buffer: &mut [u8],
    stop: &dyn Fn() -> bool,
) -> Result<(), Halt> {
    let damaged = |why| Halt::Failed(planned.set.damaged(&planned.path, why));
    let mut file = open_regular(&planned.on_disk).map_err(damaged)?;
    let effort = Effort::for_file(&planned.path, planned.size);
    let expected = planned.size;
    let (mut hasher, mut found) = (Hasher::default(), 0);
    loop {
        let length = match file.read(buffer) {
            Ok(length) => length,
            Err(again) if again.kind() == io::ErrorKind::Interrupted => continue,
            Err(why) => return Err(damaged(Damage::Unreadable(why))),
        };
        found += length as u64;
        match length {
            0 if found < expected => return Err(damaged(Damage::Shorter { expected, found })),
            0 => break,
            _ if found > expected => return Err(damaged(Damage::Longer { expected })),
            _ if stop() => return Err(PackError::Stopped.into()),
            _ => {}
        }
        hasher.update(&buffer[..length]);
        tar.data(effort, &buffer[..length])?;
    }
    let (expected, found) = (planned.sha256, hasher.finish());
    if expected == found { Ok(()) } else { Err(damaged(Damage::OtherContent { expected, found })) }
}
