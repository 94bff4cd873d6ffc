//! Packs the sets of a night into one archive, and reads it back while it is written.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::thread;

use jiff::Timestamp;
use nightshift_core::archive::ArchiveName;
use nightshift_core::digest::{Digest, Hasher};
use nightshift_core::manifest::Manifest;
use nightshift_core::name::{ClusterName, HostName};
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Compression;

use super::compress::{Effort, Members};
use super::damage::Damage;
use super::list::{ListError, Listing, check_blocking};
use super::pipe::{Closed, pipe};
use super::plan::{EntryKind, Plan, PlannedFile, open_regular};
use super::seal::{Output, Sealed};
use super::tar_writer::TarWriter;
use super::unpack::Bound;

/// Files are read in such pieces, and a wish to stop is heard after each.
const PIECE: usize = 256 << 10;

/// What to pack, and where to.
pub struct PackRequest {
    pub cluster: ClusterName,
    /// The master that packs.
    pub host: HostName,
    pub night: Night,
    /// 1 for the first archive of the night.
    pub edition: u16,
    pub made_at: Timestamp,
    pub made_with: String,
    pub sets: Vec<HeldSet>,
    /// What was expected and is not among the sets, one line each, with its reason.
    pub missing: Vec<String>,
    pub compression: Compression,
    /// age public keys; none means that the archive is not encrypted.
    pub recipients: Vec<String>,
    /// A new file, opened by the caller for this archive alone.
    pub out: File,
}

/// A set in this vault.
pub struct HeldSet {
    pub id: SetId,
    pub folder: PathBuf,
    pub manifest: Manifest,
    /// What it is worth, with what was found and stated about it later.
    pub grade: Grade,
}

/// An archive that is on the disk and was proved readable.
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

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The caller may pack again without this set.
    #[error("the set {set} is damaged in `{path}`: the archive was given up, and can be packed without it")]
    Damaged { set: SetId, path: String, source: Box<Damage> },
    #[error("the set {0} is not of the night that is packed, or was named twice")]
    Misplaced(SetId),
    #[error("`{recipient}` is no age recipient ({why}): a public key such as `age1…` is expected")]
    Recipient { recipient: String, why: &'static str },
    #[error("the archive could not be encrypted to its recipients")]
    Encrypt(#[source] age::EncryptError),
    #[error("the archive's own manifest could not be made")]
    Encode(#[source] serde_json::Error),
    #[error("the archive could not be written")]
    Write(#[source] io::Error),
    #[error("the archive could not be read back while it was written, so it is none")]
    Unreadable(#[source] ListError),
    #[error("what was read back of the archive is not what was written: {wrote} entries, {read} read")]
    Unequal { wrote: u64, read: u64 },
    #[error("the check of the archive could not be run")]
    Checker(#[source] io::Error),
    #[error("packing was stopped")]
    Stopped,
}

/// Why writing ended early.
pub(super) enum Halt {
    Failed(PackError),
    /// The checker found something, and says what.
    CheckerEnded,
}

impl From<PackError> for Halt {
    fn from(why: PackError) -> Self {
        Self::Failed(why)
    }
}

impl From<io::Error> for Halt {
    fn from(why: io::Error) -> Self {
        Self::Failed(PackError::Write(why))
    }
}

impl From<Closed> for Halt {
    fn from(_: Closed) -> Self {
        Self::CheckerEnded
    }
}

impl PackRequest {
    /// The name under which the archive is to be published.
    pub fn name(&self) -> ArchiveName {
        let encrypted = !self.recipients.is_empty();
        let Night { date, extra } = self.night;
        let first = ArchiveName::new(self.host.clone(), date, extra, self.compression, encrypted);
        ArchiveName { edition: self.edition, ..first }
    }
}

impl HeldSet {
    pub(super) fn damaged(&self, path: &str, source: Damage) -> PackError {
        PackError::Damaged { set: self.id.clone(), path: path.to_owned(), source: Box::new(source) }
    }
}

/// Writes the archive to `request.out` and brings it to the disk. Blocks, and uses both a core for
/// compression and one for the check, so it belongs on a thread of its own.
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
    let (to_checker, from_writer) = pipe();
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
    let (wrote, sealed, listing) = match (written, checked) {
        (Err(Halt::Failed(why)), _) | (_, Err(why)) => return Err(why),
        (_, Ok(Err(why))) => return Err(PackError::Unreadable(why)),
        (Err(Halt::CheckerEnded), Ok(Ok(_))) => {
            return Err(PackError::Checker(io::Error::other("it ended before the archive did")));
        }
        (Ok((wrote, sealed)), Ok(Ok(listing))) => (wrote, sealed, listing),
    };
    // The listing was checked against the manifests in the archive, and these against its `archive.json`:
    // if that is the one which was written, all the rest is.
    if listing.entries != wrote || listing.contents_sha256 != Digest::of(&plan.contents) {
        return Err(PackError::Unequal { wrote, read: listing.entries });
    }
    let Sealed { bytes, sha256 } = sealed;
    Ok(Packed { name: plan.name, bytes, sha256, listing, left_out: plan.left_out })
}

/// Writes all entries; returns how many there were.
fn write(plan: &Plan<'_>, mut tar: TarWriter<'_>, stop: &dyn Fn() -> bool) -> Result<(u64, Sealed), Halt> {
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
