//! Reads an archive from beginning to end and verifies every entry by the manifests in it.

use std::io::{Read, Write};

use nightshift_core::archive::{ArchiveName, MANIFEST};
use nightshift_core::digest::{Digest, Hasher};
use nightshift_core::manifest::{self, Manifest, ManifestError};
use nightshift_core::set_path::SetId;

use crate::contents::{self, ArchivedSet, Contents, packed_name};
use crate::entries::{Entries, Found, FoundKind};
use crate::error::ListError;
use crate::set_check::{Expected, SetCheck, other_content};
use crate::unpack::{Bound, Meter, decode};
use crate::visit::Visitor;

const BUFFER: usize = 256 << 10;

/// The content of an archive, every byte verified.
#[derive(Debug)]
pub struct Listing {
    pub contents: Contents,
    /// Of the bytes of `archive.json`. By the hashes in it, it identifies the whole content.
    pub contents_sha256: Digest,
    pub entries: u64,
    /// Of all files in it, unpacked.
    pub bytes: u64,
}

/// Verifies a decrypted archive from an unknown source. It blocks and uses a whole core: do not call it on a worker of an
/// async runtime. The visitor may end the reading early: what follows is then not verified.
pub fn visit_blocking(
    reader: impl Read + Unpin + Send,
    name: &ArchiveName,
    visitor: &mut dyn Visitor,
) -> Result<Listing, ListError> {
    read(reader, name, Bound::Ratio, visitor)
}

/// The runtime is that of this thread alone, without timer and sockets: the reader waits only for its bytes, and the
/// daemon's own workers stay free.
pub(crate) fn read(
    reader: impl Read + Unpin + Send,
    name: &ArchiveName,
    bound: Bound,
    visitor: &mut dyn Visitor,
) -> Result<Listing, ListError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(ListError::Runtime)?;
    let (decoded, meter) = decode(reader, name, bound);
    let data = Data { meter, buffer: vec![0; BUFFER], bytes: 0 };
    let entries = Entries::new(decoded)?;
    let check = Check { entries, data, top: name.top_directory(), seen: 0, visitor };
    runtime.block_on(check.run(name))
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
        let mut files = contents.files.iter().peekable();
        let mut sets = contents.sets.iter();
        let mut set: Option<SetCheck> = None;
        while let Some(mut found) = self.next().await? {
            if self.seen == 2 && found.path == self.top && found.kind == FoundKind::Directory {
                continue;
            }
            let below = found.path.strip_prefix(&self.top).and_then(|path| path.strip_prefix('/'));
            let below = below.unwrap_or_default().to_owned();
            if let Some(file) = files.next_if(|file| file.path == below) {
                let expected = Expected::attached(file);
                expected.matches(&found)?;
                let sha256 = self.data.hash(&mut found, self.visitor.file(&below)).await?;
                expected.matches_content(&found.path, sha256)?;
                continue;
            }
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
            let next = next.filter(|_| files.peek().is_none());
            let next = next.ok_or(ListError::Unexpected { path: found.path.clone() })?;
            none_missing(set.as_ref(), &self.top)?;
            let (manifest, bytes) = self.data.manifest(&mut found, next).await?;
            self.visitor.set(next, &manifest, &bytes);
            set = Some(SetCheck::new(contents.format, next, &manifest));
        }
        self.entries.end().await?;
        none_missing(set.as_ref(), &self.top)?;
        if let Some(file) = files.next() {
            return Err(ListError::Missing { path: format!("{}/{}", self.top, file.path) });
        }
        if let Some(set) = sets.next() {
            return Err(ListError::Missing { path: format!("{}/{}", self.top, manifest_path(set)) });
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
        let Some(mut found) = self.next().await? else { return Err(ListError::Missing { path }) };
        let Some(packed) = packed_name(name, &found.path) else {
            return Err(ListError::Unexpected { path: found.path });
        };
        self.top = packed.top_directory();
        let path = found.path.clone();
        let (bytes, sha256) = self.data.read(&mut found, contents::MAX_BYTES).await?;
        let contents =
            Contents::decode(&bytes, &packed).map_err(|source| ListError::Contents { path, source })?;
        Ok((contents, sha256))
    }
}

fn none_missing(set: Option<&SetCheck>, top: &str) -> Result<(), ListError> {
    match set.and_then(SetCheck::missing) {
        Some(path) => Err(ListError::Missing { path: format!("{top}/{path}") }),
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
    /// Hashes an entry's data, and copies it to a writer.
    async fn hash(
        &mut self,
        found: &mut Found<'_>,
        mut copy: Option<&mut dyn Write>,
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
            if let Some(copy) = &mut copy {
                let written = copy.write_all(&self.buffer[..length]);
                written.map_err(|source| ListError::Extract { path: found.path.clone(), source })?;
            }
        }
    }

    /// Reads and hashes the data of a file with at most `max` bytes.
    async fn read(&mut self, found: &mut Found<'_>, max: u64) -> Result<(Vec<u8>, Digest), ListError> {
        let path = || found.path.clone();
        match found.kind {
            FoundKind::File { size } if size > max => {
                return Err(ListError::TooLarge { path: path(), found: size, max });
            }
            FoundKind::File { .. } => {}
            _ => return Err(ListError::Unexpected { path: path() }),
        }
        let mut bytes = Vec::new();
        let sha256 = self.hash(found, Some(&mut bytes)).await?;
        Ok((bytes, sha256))
    }

    async fn manifest(
        &mut self,
        found: &mut Found<'_>,
        set: &ArchivedSet,
    ) -> Result<(Manifest, Vec<u8>), ListError> {
        let (bytes, sha256) = self.read(found, manifest::max_bytes(set.id.role)).await?;
        if sha256 != set.manifest_sha256 {
            return Err(other_content(&found.path, set.manifest_sha256, sha256));
        }
        let refused = |error| ListError::Manifest { path: found.path.clone(), source: Box::new(error) };
        let manifest = Manifest::decode(&bytes).map_err(refused)?;
        let id: SetId = manifest.id();
        if id != set.id {
            return Err(refused(ManifestError::OtherSet { expected: set.id.clone(), found: id }));
        }
        Ok((manifest, bytes))
    }
}
