//! Reads the entries of a tar from an unknown source.
//!
//! `tokio-tar` would read a GNU long name of any length into memory, so only its raw entries are used, and long names
//! are joined here with a limit, and so are the records of ACLs and capabilities. The archives of nightshift use no other extension.

use std::borrow::Cow;
use std::{fmt, io};

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::io::AsyncReadExt as _;
use tokio_tar::{Archive, Entry, EntryType, Header};

use crate::error::ListError;
use crate::pax;
use crate::unpack::Decoded;

/// Bytes: twice the maximum of a path in a set, which leaves enough for the directories above it.
const MAX_NAME_LEN: u64 = 8 << 10;
/// Bytes that may follow the end of a tar: GNU tar pads it to its record size.
const MAX_PADDING: usize = 1 << 20;
const BLOCK: usize = 512;

type Raw<'r> = Entry<Archive<Decoded<'r>>>;

pub(crate) struct Entries<'r> {
    archive: Archive<Decoded<'r>>,
    raw: BoxStream<'r, io::Result<Raw<'r>>>,
    /// The entry before. It locates an error, because a broken entry has no name yet.
    after: String,
}

/// The header of an entry. Its data is still to be read.
pub(crate) struct Found<'r> {
    pub path: String,
    pub kind: FoundKind,
    pub attributes: Attributes,
    /// The records of its ACLs and capability.
    pub pax: Vec<u8>,
    data: Raw<'r>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FoundKind {
    File { size: u64 },
    Directory,
    Symlink { target: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub uid: u64,
    pub gid: u64,
    pub mode: u32,
    pub modified: u64,
}

impl<'r> Entries<'r> {
    pub fn new(reader: Decoded<'r>) -> Result<Self, ListError> {
        let mut archive = Archive::new(reader);
        let after = "the beginning".to_owned();
        let raw = archive.entries_raw().map_err(|error| broken(&after, error))?.boxed();
        Ok(Self { archive, raw, after })
    }

    pub async fn next(&mut self) -> Result<Option<Found<'r>>, ListError> {
        let (mut long_path, mut long_target, mut pax) = (None, None, None);
        while let Some(entry) = self.raw.next().await {
            let mut entry = entry.map_err(|error| broken(&self.after, error))?;
            let (long, max) = match entry.header().entry_type() {
                EntryType::GNULongName => (&mut long_path, MAX_NAME_LEN),
                EntryType::GNULongLink => (&mut long_target, MAX_NAME_LEN),
                EntryType::XHeader => (&mut pax, pax::MAX_LEN),
                _ => {
                    let mut found = found(entry, long_path, long_target, &self.after)?;
                    found.pax = pax.unwrap_or_default();
                    self.after.clone_from(&found.path);
                    return Ok(Some(found));
                }
            };
            if long.is_some() || entry.effective_size() > max {
                return Err(broken(
                    &self.after,
                    io::Error::other("a name or an ACL is too long, or repeated"),
                ));
            }
            let is_name = entry.header().entry_type() != EntryType::XHeader;
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).await.map_err(|error| broken(&self.after, error))?;
            bytes.pop_if(|last| is_name && *last == 0);
            *long = Some(bytes);
        }
        if long_path.is_some() || long_target.is_some() || pax.is_some() {
            return Err(broken(&self.after, io::Error::other("a name or an ACL belongs to no entry")));
        }
        Ok(None)
    }

    /// Reads what follows the last entry: a tar ends in two empty blocks, and a gzip member in a checksum.
    pub async fn end(mut self) -> Result<(), ListError> {
        // The last `next` has read the first of the two, unless the stream ended before it.
        let mut rest = Vec::new();
        let padding = (&mut self.archive).take(MAX_PADDING as u64).read_to_end(&mut rest).await;
        match padding.map_err(|error| broken(&self.after, error))? {
            short if short < BLOCK => Err(ListError::Truncated { after: self.after }),
            MAX_PADDING.. => Err(ListError::Trailing),
            _ if rest.iter().any(|byte| *byte != 0) => Err(ListError::Trailing),
            _ => Ok(()),
        }
    }
}

impl Found<'_> {
    /// Reads some of its data; 0 at its end.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ListError> {
        let read = self.data.read(buffer).await;
        read.map_err(|source| ListError::Broken { place: format!("within {}", self.path), source })
    }
}

impl fmt::Display for FoundKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { size } => write!(f, "a file of {size} bytes"),
            Self::Directory => f.write_str("a directory"),
            Self::Symlink { target } => write!(f, "a symlink to {target}"),
        }
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uid, gid, mode, modified } = self;
        write!(f, "of owner {uid}:{gid} with mode {mode:04o} and time {modified}")
    }
}

impl Attributes {
    fn of(header: &Header) -> io::Result<Self> {
        let (uid, gid) = (header.uid()?, header.gid()?);
        Ok(Self { uid, gid, mode: header.mode()?, modified: header.mtime()? })
    }
}

fn found<'r>(
    data: Raw<'r>,
    long_path: Option<Vec<u8>>,
    long_target: Option<Vec<u8>>,
    after: &str,
) -> Result<Found<'r>, ListError> {
    let header = data.header();
    let path = text(long_path.unwrap_or_else(|| header.path_bytes().into_owned()))?;
    let path = path.strip_suffix('/').unwrap_or(&path).to_owned();
    let size = header.raw_entry_size().map_err(|error| broken(after, error))?;
    let kind = match header.entry_type() {
        EntryType::Regular => FoundKind::File { size },
        EntryType::Directory | EntryType::Symlink if size > 0 => {
            return Err(ListError::Refused { path, reason: "it has data, but is not a file" });
        }
        EntryType::Directory => FoundKind::Directory,
        EntryType::Symlink => {
            let short = || header.link_name_bytes().map(Cow::into_owned).unwrap_or_default();
            FoundKind::Symlink { target: text(long_target.unwrap_or_else(short))? }
        }
        _ => return Err(ListError::Refused { path, reason: "it is not a file, directory or symlink" }),
    };
    let attributes = Attributes::of(header).map_err(|error| broken(after, error))?;
    Ok(Found { path, kind, attributes, pax: Vec::new(), data })
}

fn text(name: Vec<u8>) -> Result<String, ListError> {
    String::from_utf8(name).map_err(|error| ListError::Refused {
        path: String::from_utf8_lossy(error.as_bytes()).into_owned(),
        reason: "its name is not valid UTF-8",
    })
}

fn broken(after: &str, source: io::Error) -> ListError {
    ListError::Broken { place: format!("after {after}"), source }
}
