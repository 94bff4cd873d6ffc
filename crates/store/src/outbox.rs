//! The outbox and `sent/`: archives on their way out, and what each remote has of them.

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nightshift_core::archive::ArchiveName;
use nightshift_core::digest::Digest;
use nightshift_core::name::RemoteName;
use nightshift_core::range_set::RangeSet;
use serde::{Deserialize, Serialize};

use crate::fault::{IoContext as _, StoreError};
use crate::layout::{create_folders, read_bounded};
use crate::publish::replace_file;
use crate::sync::{sync_file, sync_folder};

/// The most bytes of one of the small files beside an archive.
const MAX_BYTES: u64 = 1 << 20;

/// A folder of archives with their `.sha256` and `.sig`.
#[derive(Debug, Clone)]
pub struct Outbox {
    folder: PathBuf,
}

/// An archive that is being packed, beside the archives and not one of them.
#[derive(Debug)]
pub struct Part {
    pub path: PathBuf,
    pub file: File,
}

/// How far one archive has come on its way to one remote.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivery {
    pub sha256: Digest,
    /// What the remote has acknowledged and synced of the part file.
    pub done: RangeSet,
    /// How it was verified there, once it was.
    pub verified: Option<String>,
}

impl Outbox {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    pub fn path(&self, archive: &ArchiveName) -> PathBuf {
        self.folder.join(archive.to_string())
    }

    /// The archives here, oldest first.
    pub fn archives(&self) -> Result<Vec<ArchiveName>, StoreError> {
        let listing = match fs::read_dir(&self.folder) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).on("list", &self.folder),
        };
        let mut archives: Vec<ArchiveName> = Vec::new();
        for entry in listing {
            let name = entry.on("list", &self.folder)?.file_name();
            archives.extend(name.to_str().and_then(|name| name.parse().ok()));
        }
        archives.sort_by_key(|name| (name.date, name.extra, name.edition));
        Ok(archives)
    }

    /// A new file to pack into; one that an earlier attempt left is removed.
    pub fn begin(&self, archive: &str) -> Result<Part, StoreError> {
        create_folders(&self.folder)?;
        let path = self.folder.join(format!("{archive}.part"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).on("remove", &path),
            _ => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .on("create", &path)?;
        Ok(Part { path, file })
    }

    /// Gives a packed archive its name, once it is on disk with its checksum and its signature beside it.
    pub fn publish(
        &self,
        part: &Part,
        archive: &ArchiveName,
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
        sync_folder(&self.folder).on("sync", &self.folder)
    }

    /// The checksum that stands beside an archive.
    pub fn sha256(&self, archive: &ArchiveName) -> Result<Digest, StoreError> {
        let path = beside(&self.path(archive), "sha256");
        let bytes = read_bounded(&path, MAX_BYTES)?;
        let text = String::from_utf8_lossy(&bytes);
        let digest = text.split_whitespace().next().and_then(|word| word.parse().ok());
        digest
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it holds no SHA-256"))
            .on("read", &path)
    }

    /// The signature beside an archive, where it was signed.
    pub fn signature(&self, archive: &ArchiveName) -> Result<Option<Vec<u8>>, StoreError> {
        let path = beside(&self.path(archive), "sig");
        if path.exists() { read_bounded(&path, MAX_BYTES).map(Some) } else { Ok(None) }
    }

    pub fn delivery(&self, archive: &ArchiveName, remote: &RemoteName) -> Option<Delivery> {
        let bytes = read_bounded(&self.delivery_path(archive, remote), MAX_BYTES).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub fn keep_delivery(
        &self,
        archive: &ArchiveName,
        remote: &RemoteName,
        delivery: &Delivery,
    ) -> Result<(), StoreError> {
        let path = self.delivery_path(archive, remote);
        let bytes = serde_json::to_vec(delivery).map_err(io::Error::from).on("write", &path)?;
        replace_file(&path, &bytes)
    }

    fn delivery_path(&self, archive: &ArchiveName, remote: &RemoteName) -> PathBuf {
        self.folder.join(format!(".{archive}.{remote}.delivery"))
    }

    /// Moves an archive that every remote has to `sent`, what belongs to it first.
    pub fn move_to(&self, sent: &Self, archive: &ArchiveName) -> Result<(), StoreError> {
        create_folders(&sent.folder)?;
        let path = self.path(archive);
        for extension in ["sha256", "sig"] {
            let from = beside(&path, extension);
            if from.exists() {
                fs::rename(&from, beside(&sent.path(archive), extension)).on("move", &from)?;
            }
        }
        fs::rename(&path, sent.path(archive)).on("move", &path)?;
        sync_folder(&sent.folder).on("sync", &sent.folder)?;
        self.remove_beside(archive)?;
        sync_folder(&self.folder).on("sync", &self.folder)
    }

    /// Removes an archive and what belongs to it.
    pub fn remove(&self, archive: &ArchiveName) -> Result<(), StoreError> {
        let path = self.path(archive);
        fs::remove_file(&path).on("remove", &path)?;
        self.remove_beside(archive)?;
        sync_folder(&self.folder).on("sync", &self.folder)
    }

    /// Removes what a crash left: archives half packed, and small files whose archive is gone.
    pub fn sweep(&self) -> Result<Vec<PathBuf>, StoreError> {
        let archives = self.archives()?;
        let mut swept = Vec::new();
        for path in self.files()? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let orphan = belongs_to(name).is_some_and(|archive| !archives.contains(&archive));
            if orphan || name.ends_with(".part") {
                fs::remove_file(&path).on("remove", &path)?;
                swept.push(path);
            }
        }
        Ok(swept)
    }

    fn files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let listing = match fs::read_dir(&self.folder) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).on("list", &self.folder),
        };
        listing.map(|entry| entry.map(|entry| entry.path()).on("list", &self.folder)).collect()
    }

    fn remove_beside(&self, archive: &ArchiveName) -> Result<(), StoreError> {
        for path in self.files()? {
            let name = path.file_name().and_then(|name| name.to_str());
            if name.and_then(belongs_to).is_some_and(|of| of == *archive) {
                fs::remove_file(&path).on("remove", &path)?;
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
    // `.<archive>.<remote>.delivery`, and a remote's name may hold dots: the longest archive's name it is.
    let rest = hidden.strip_suffix(".delivery")?;
    rest.match_indices('.').rev().find_map(|(at, _)| rest[..at].parse().ok())
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}
