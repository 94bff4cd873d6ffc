//! The outbox and `sent/`: archives that are being shipped, and how much of them each remote has. `kit/` has the same files.

mod copies;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::fs::{self, DirEntry, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nightshift_core::archive::{self as names, ArchiveName};
use nightshift_core::digest::Digest;
use nightshift_core::name::RemoteName;
use nightshift_core::range_set::RangeSet;
use serde::{Deserialize, Serialize};

use crate::directory::{create_directories, list, remove_file};
use crate::fault::{IoContext as _, StoreError};
use crate::read::{read_bounded, read_if_exists};
use crate::replace::replace_file;
use crate::sync::{sync_directory, sync_file};

pub use copies::{RemoteCopies, RemoteCopy};

/// Bytes of a checksum, a signature or a delivery.
const MAX_LEN: u64 = 1 << 20;

/// A directory of archives, each with its `.sha256` and `.sig`.
#[derive(Debug, Clone)]
pub struct Outbox {
    directory: PathBuf,
}

/// An archive that is being packed. It does not have its name yet.
#[derive(Debug)]
pub struct Part {
    pub path: PathBuf,
    pub file: File,
}

/// How much of an archive one remote has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivery {
    pub sha256: Digest,
    /// The ranges of the part file that the remote has acknowledged and synced.
    pub done: RangeSet,
    /// How it was verified there; `None` until it is.
    pub verified: Option<String>,
    /// Its name there, where its own name was taken by other content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_as: Option<String>,
}

/// The archive that was verified last on one remote. It is remembered longer than the delivery, which is removed with the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastDelivery {
    pub archive: String,
    pub at: Timestamp,
    pub bytes: u64,
}

impl Delivery {
    /// Nothing of this content was delivered yet.
    pub fn of(sha256: Digest) -> Self {
        Self { sha256, done: RangeSet::new(), verified: None, stored_as: None }
    }

    /// The remote has all of this content, as was verified there.
    pub fn verified(sha256: Digest, verified: String, stored_as: Option<String>) -> Self {
        Self { verified: Some(verified), stored_as, ..Self::of(sha256) }
    }
}

impl Outbox {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    pub fn path(&self, archive: &impl Display) -> PathBuf {
        self.directory.join(archive.to_string())
    }

    /// The archives, oldest first.
    pub fn archives(&self) -> Result<Vec<ArchiveName>, StoreError> {
        let entries = list(&self.directory)?.into_iter();
        let mut archives: Vec<ArchiveName> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        archives.sort_by_key(|name| (name.date, name.extra, name.edition));
        Ok(archives)
    }

    /// A new file to pack into; one that an earlier attempt left is removed.
    pub fn begin(&self, archive: &str) -> Result<Part, StoreError> {
        create_directories(&self.directory)?;
        let path = self.directory.join(format!("{archive}.part"));
        remove_file(&path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .on("create", &path)?;
        Ok(Part { path, file })
    }

    /// Gives a packed archive its name, once it is on disk, and its checksum and signature are.
    pub fn publish(
        &self,
        part: &Part,
        archive: &impl Display,
        sha256: Digest,
        signature: Option<&str>,
    ) -> Result<(), StoreError> {
        sync_file(&part.file).on("sync", &part.path)?;
        let path = self.path(archive);
        replace_file(&beside(&path, "sha256"), format!("{sha256}  {archive}\n").as_bytes())?;
        if let Some(signature) = signature {
            replace_file(&beside(&path, "sig"), signature.as_bytes())?;
        }
        fs::rename(&part.path, &path).on("publish", &path)?;
        sync_directory(&self.directory).on("sync", &self.directory)
    }

    /// The checksum beside an archive.
    pub fn sha256(&self, archive: &impl Display) -> Result<Digest, StoreError> {
        let path = beside(&self.path(archive), "sha256");
        let bytes = read_bounded(&path, MAX_LEN)?;
        let text = String::from_utf8_lossy(&bytes);
        let digest = text.split_whitespace().next().and_then(|word| word.parse().ok());
        digest
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it does not contain a SHA-256"))
            .on("read", &path)
    }

    /// The signature beside an archive; `None` where there is none.
    pub fn signature(&self, archive: &impl Display) -> Result<Option<Vec<u8>>, StoreError> {
        let path = beside(&self.path(archive), "sig");
        read_if_exists(&path, MAX_LEN)
    }

    pub fn delivery(&self, archive: &impl Display, remote: &RemoteName) -> Option<Delivery> {
        let bytes = read_bounded(&self.delivery_path(archive, remote), MAX_LEN).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub fn keep_delivery(
        &self,
        archive: &impl Display,
        remote: &RemoteName,
        delivery: &Delivery,
    ) -> Result<(), StoreError> {
        let path = self.delivery_path(archive, remote);
        let bytes = serde_json::to_vec(delivery).map_err(io::Error::from).on("write", &path)?;
        replace_file(&path, &bytes)
    }

    /// Whether an archive was verified on this remote, at this location, before.
    pub fn has_shipped_to(&self, remote: &RemoteName, location: &str) -> Result<bool, StoreError> {
        let stored = read_if_exists(&self.mark_path(remote), MAX_LEN)?;
        Ok(stored.is_some_and(|stored| stored == location.as_bytes()))
    }

    /// Remembers that an archive was verified on this remote, at this location.
    pub fn keep_shipped_to(&self, remote: &RemoteName, location: &str) -> Result<(), StoreError> {
        if self.has_shipped_to(remote, location)? {
            return Ok(());
        }
        replace_file(&self.mark_path(remote), location.as_bytes())
    }

    /// The archive that was verified last on this remote; `None` if none was, or if the file cannot be read.
    pub fn last_delivery(&self, remote: &RemoteName) -> Option<LastDelivery> {
        let bytes = read_bounded(&self.last_path(remote), MAX_LEN).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Remembers that an archive was verified on this remote now.
    pub fn keep_last_delivery(
        &self,
        remote: &RemoteName,
        archive: &str,
        bytes: u64,
    ) -> Result<(), StoreError> {
        let path = self.last_path(remote);
        let last = LastDelivery { archive: archive.to_owned(), at: Timestamp::now(), bytes };
        let bytes = serde_json::to_vec(&last).map_err(io::Error::from).on("write", &path)?;
        replace_file(&path, &bytes)
    }

    fn last_path(&self, remote: &RemoteName) -> PathBuf {
        self.directory.join(format!(".{remote}.last"))
    }

    fn mark_path(&self, remote: &RemoteName) -> PathBuf {
        self.directory.join(format!(".{remote}.shipped"))
    }

    fn delivery_path(&self, archive: &impl Display, remote: &RemoteName) -> PathBuf {
        self.directory.join(names::delivery_file(archive, remote))
    }

    /// Moves an archive that every remote has to `sent`: its checksum and signature first, so that it is never without.
    pub fn move_to(&self, sent: &Self, archive: &ArchiveName) -> Result<(), StoreError> {
        create_directories(&sent.directory)?;
        let path = self.path(archive);
        for extension in ["sha256", "sig"] {
            let from = beside(&path, extension);
            if from.exists() {
                move_file(&from, &beside(&sent.path(archive), extension))?;
            }
        }
        move_file(&path, &sent.path(archive))?;
        sync_directory(&sent.directory).on("sync", &sent.directory)?;
        self.remove_beside(archive)?;
        sync_directory(&self.directory).on("sync", &self.directory)
    }

    /// Removes an archive with its checksum, signature and deliveries.
    pub fn remove(&self, archive: &ArchiveName) -> Result<(), StoreError> {
        let path = self.path(archive);
        remove_file(&path)?;
        self.remove_beside(archive)?;
        sync_directory(&self.directory).on("sync", &self.directory)
    }

    /// Removes what a crash left: archives that were being packed, and small files whose archive is gone.
    pub fn sweep(&self) -> Result<Vec<PathBuf>, StoreError> {
        let archives = self.archives()?;
        let mut swept = Vec::new();
        for path in list(&self.directory)?.iter().map(DirEntry::path) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let orphan = belongs_to(name).is_some_and(|archive| !archives.contains(&archive));
            if orphan || name.ends_with(".part") {
                remove_file(&path)?;
                swept.push(path);
            }
        }
        Ok(swept)
    }

    fn remove_beside(&self, archive: &ArchiveName) -> Result<(), StoreError> {
        for path in list(&self.directory)?.iter().map(DirEntry::path) {
            let name = path.file_name().and_then(|name| name.to_str());
            if name.and_then(belongs_to).is_some_and(|of| of == *archive) {
                remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// The archive whose checksum, signature or delivery a file of this name is.
fn belongs_to(name: &str) -> Option<ArchiveName> {
    let Some(hidden) = name.strip_prefix('.') else {
        return name.strip_suffix(".sha256").or_else(|| name.strip_suffix(".sig"))?.parse().ok();
    };
    // `.<archive>.<remote>.delivery`. A remote's name may contain dots, so the longest name of an archive counts.
    let rest = hidden.strip_suffix(".delivery")?;
    rest.match_indices('.').rev().find_map(|(at, _)| rest[..at].parse().ok())
}

/// Renames a file; to another file system, it is copied and synced first.
fn move_file(from: &Path, to: &Path) -> Result<(), StoreError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
        renamed => return renamed.on("move", from),
    }
    let part = beside(to, "part");
    if let Err(error) = fs::copy(from, &part) {
        // It may have as many bytes as the archive.
        remove_file(&part)?;
        return Err(error).on("copy to another file system", from);
    }
    let copied = File::open(&part).on("open", &part)?;
    sync_file(&copied).on("sync", &part)?;
    fs::rename(&part, to).on("publish", to)?;
    if let Some(directory) = to.parent() {
        sync_directory(directory).on("sync", directory)?;
    }
    remove_file(from)
}

/// The path with a further extension: that of a file that belongs to this one.
pub fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}
