//! Reads an archive from end to end and checks every entry against the manifests inside.

use std::io::{Read, Write};

use nightshift_core::archive::{ArchiveName, MANIFEST};
use nightshift_core::digest::{Digest, Hasher};
use nightshift_core::manifest::{self, Manifest, ManifestError};
use nightshift_core::set_path::SetId;
use tokio::io::AsyncRead;

use crate::contents::{self, ArchivedSet, Contents, top_folder};
use crate::entries::{Entries, Found, FoundKind};
use crate::error::ListError;
use crate::inline::Inline;
use crate::set_check::SetCheck;
use crate::unpack::{Bound, Meter, decode};
use crate::visit::{Nobody, Visitor};

const BUFFER: usize = 256 << 10;

/// What an archive holds, every byte of it checked.
#[derive(Debug)]
pub struct Listing {
    pub contents: Contents,
    /// Of the bytes of `archive.json`: with it, all that the archive holds is named.
    pub contents_sha256: Digest,
    pub entries: u64,
    /// Of all files in it, unpacked.
    pub bytes: u64,
}

/// Verifies an archive that anyone may have written; it is decrypted already. Unpacking takes a core, and blocks: not
/// for one of a runtime's workers.
pub fn list_blocking(reader: impl Read + Unpin + Send, name: &ArchiveName) -> Result<Listing, ListError> {
    check_blocking(reader, name, Bound::Ratio)
}

/// As `list_blocking`, for a visitor, who may end the reading early: then what follows is not checked.
pub fn visit_blocking(
    reader: impl Read + Unpin + Send,
    name: &ArchiveName,
    visitor: &mut dyn Visitor,
) -> Result<(), ListError> {
    read_blocking(reader, name, Bound::Ratio, visitor).map(drop)
}

/// The runtime is one of this thread alone, with neither timer nor sockets: the reader never waits for
/// anything but its bytes, and the daemon's own workers stay free of the unpacking.
pub(crate) fn check_blocking(
    reader: impl Read + Unpin + Send,
    name: &ArchiveName,
    bound: Bound,
) -> Result<Listing, ListError> {
    read_blocking(reader, name, bound, &mut Nobody)
}

fn read_blocking(
    reader: impl Read + Unpin + Send,
    name: &ArchiveName,
    bound: Bound,
    visitor: &mut dyn Visitor,
) -> Result<Listing, ListError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(ListError::Runtime)?;
    runtime.block_on(check(Inline(reader), name, bound, visitor))
}

async fn check(
    reader: impl AsyncRead + Unpin + Send,
    name: &ArchiveName,
    bound: Bound,
    visitor: &mut dyn Visitor,
) -> Result<Listing, ListError> {
    let (decoded, meter) = decode(reader, name, bound);
    let data = Data { meter, buffer: vec![0; BUFFER], bytes: 0 };
    Check { entries: Entries::new(decoded)?, data, top: top_folder(name), seen: 0, visitor }.run(name).await
}

struct Check<'r, 'v> {
    entries: Entries<'r>,
    data: Data,
    top: String,
    seen: u64,
    visitor: &'v mut dyn Visitor,
}

impl<'r> Check<'r, '_> {
    async fn run(mut self, name: &ArchiveName) -> Result<Listing, ListError> {
        let (contents, contents_sha256) = self.contents(name).await?;
        self.visitor.contents(&contents);
        let mut sets = contents.sets.iter();
        let mut set: Option<SetCheck> = None;
        while let Some(mut found) = self.next().await? {
            if self.seen == 2 && found.path == self.top && found.kind == FoundKind::Folder {
                continue;
            }
            let below = found.path.strip_prefix(&self.top).and_then(|path| path.strip_prefix('/'));
            let below = below.unwrap_or_default().to_owned();
            if let Some(expected) = set.as_mut().and_then(|set| set.take(&below)) {
                expected.matches(&found)?;
                let sha256 = self.data.hash(&mut found, self.visitor.file(&below)).await?;
                expected.matches_content(&found.path, sha256)?;
                if self.visitor.has_all() {
                    let (entries, bytes) = (self.seen, self.data.bytes);
                    return Ok(Listing { contents, contents_sha256, entries, bytes });
                }
                continue;
            }
            let next = sets.next().filter(|next| below == manifest_path(next));
            let next = next.ok_or(ListError::Unexpected { path: found.path.clone() })?;
            nothing_absent(set.as_ref(), &self.top)?;
            let manifest = self.data.manifest(&mut found, next).await?;
            self.visitor.set(next, &manifest);
            set = Some(SetCheck::new(next, &manifest));
        }
        self.entries.end().await?;
        nothing_absent(set.as_ref(), &self.top)?;
        if let Some(set) = sets.next() {
            return Err(ListError::Absent { path: format!("{}/{}", self.top, manifest_path(set)) });
        }
        let (entries, bytes) = (self.seen, self.data.bytes);
        Ok(Listing { contents, contents_sha256, entries, bytes })
    }

    async fn next(&mut self) -> Result<Option<Found<'r>>, ListError> {
        let found = self.entries.next().await?;
        self.seen += u64::from(found.is_some());
        Ok(found)
    }

    async fn contents(&mut self, name: &ArchiveName) -> Result<(Contents, Digest), ListError> {
        let path = format!("{}/{MANIFEST}", self.top);
        let mut found = match self.next().await? {
            Some(found) if found.path == path => found,
            Some(other) => return Err(ListError::Unexpected { path: other.path }),
            None => return Err(ListError::Absent { path }),
        };
        let bytes = self.data.read(&mut found, contents::MAX_BYTES).await?;
        let contents =
            Contents::decode(&bytes, name).map_err(|source| ListError::Contents { path, source })?;
        Ok((contents, Digest::of(&bytes)))
    }
}

fn nothing_absent(set: Option<&SetCheck>, top: &str) -> Result<(), ListError> {
    match set.and_then(SetCheck::absent) {
        Some(path) => Err(ListError::Absent { path: format!("{top}/{path}") }),
        None => Ok(()),
    }
}

fn manifest_path(set: &ArchivedSet) -> String {
    format!("{}/{}", set.dir_name(), manifest::FILE)
}

/// Reads the data of entries.
struct Data {
    meter: Meter,
    buffer: Vec<u8>,
    bytes: u64,
}

impl Data {
    /// Hashes an entry's data, and hands it on to whoever takes it.
    async fn hash(
        &mut self,
        found: &mut Found<'_>,
        mut taker: Option<&mut dyn Write>,
    ) -> Result<Digest, ListError> {
        let mut hasher = Hasher::default();
        loop {
            let length = found.read(&mut self.buffer).await?;
            if length == 0 {
                return Ok(hasher.finish());
            }
            self.bytes += length as u64;
            self.meter.unpacked(length as u64, &found.path)?;
            hasher.update(&self.buffer[..length]);
            if let Some(taker) = &mut taker {
                let taken = taker.write_all(&self.buffer[..length]);
                taken.map_err(|source| ListError::Taken { path: found.path.clone(), source })?;
            }
        }
    }

    async fn read(&mut self, found: &mut Found<'_>, most: u64) -> Result<Vec<u8>, ListError> {
        let mut bytes = Vec::new();
        match found.kind {
            FoundKind::File { size } if size > most => {
                return Err(ListError::TooLarge { path: found.path.clone(), found: size, most });
            }
            FoundKind::File { .. } => {}
            _ => return Err(ListError::Unexpected { path: found.path.clone() }),
        }
        loop {
            let length = found.read(&mut self.buffer).await?;
            if length == 0 {
                return Ok(bytes);
            }
            self.bytes += length as u64;
            self.meter.unpacked(length as u64, &found.path)?;
            bytes.extend_from_slice(&self.buffer[..length]);
        }
    }

    async fn manifest(&mut self, found: &mut Found<'_>, set: &ArchivedSet) -> Result<Manifest, ListError> {
        let bytes = self.read(found, manifest::MAX_BYTES).await?;
        let sha256 = Digest::of(&bytes);
        if sha256 != set.manifest_sha256 {
            return Err(ListError::Differs {
                path: found.path.clone(),
                expected: format!("of SHA-256 {}", set.manifest_sha256),
                found: format!("of SHA-256 {sha256}"),
            });
        }
        let refused = |why| ListError::Manifest { path: found.path.clone(), source: Box::new(why) };
        let manifest = Manifest::decode(&bytes).map_err(refused)?;
        let id: SetId = manifest.id();
        if id != set.id {
            return Err(refused(ManifestError::OtherSet { expected: set.id.clone(), found: id }));
        }
        Ok(manifest)
    }
}
