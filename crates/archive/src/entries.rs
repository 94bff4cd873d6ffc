//! Reads the entries of a tar that anybody may have written.
//!
//! The physical entries are read, and the long names of GNU tar put together here: the crate would take a
//! name of any length into memory. Archives of ours use nothing else that spans entries.

use std::borrow::Cow;
use std::fmt;
use std::io;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::io::AsyncReadExt as _;
use tokio_tar::{Archive, Entry, EntryType};

use crate::error::ListError;
use crate::unpack::Decoded;

/// The longest name: what a path within a set may have, and as much again for the folders above it.
const LONGEST_NAME: u64 = 8 << 10;
/// What may follow the end of a tar: GNU tar fills it up to its record size.
const LONGEST_FILL: usize = 1 << 20;
const BLOCK: usize = 512;

type Raw<'r> = Entry<Archive<Decoded<'r>>>;

pub(crate) struct Entries<'r> {
    archive: Archive<Decoded<'r>>,
    raw: BoxStream<'r, io::Result<Raw<'r>>>,
    /// The entry before, for what goes wrong has no name yet.
    after: String,
}

/// An entry as its header has it, its data still to be read.
pub(crate) struct Found<'r> {
    pub path: String,
    pub kind: FoundKind,
    pub uid: u64,
    pub gid: u64,
    pub mode: u32,
    pub modified: u64,
    data: Raw<'r>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FoundKind {
    File { size: u64 },
    Folder,
    Symlink { target: String },
}

impl<'r> Entries<'r> {
    pub fn new(reader: Decoded<'r>) -> Result<Self, ListError> {
        let mut archive = Archive::new(reader);
        let after = "the beginning".to_owned();
        let raw = archive.entries_raw().map_err(|why| broken(&after, why))?.boxed();
        Ok(Self { archive, raw, after })
    }

    pub async fn next(&mut self) -> Result<Option<Found<'r>>, ListError> {
        let (mut long_path, mut long_target) = (None, None);
        while let Some(entry) = self.raw.next().await {
            let mut entry = entry.map_err(|why| broken(&self.after, why))?;
            let long = match entry.header().entry_type() {
                EntryType::GNULongName => &mut long_path,
                EntryType::GNULongLink => &mut long_target,
                _ => {
                    let found = found(entry, long_path, long_target).map_err(|why| match why {
                        Odd::Header(why) => broken(&self.after, why),
                        Odd::Refused { path, why } => ListError::Refused { path, why },
                    })?;
                    self.after.clone_from(&found.path);
                    return Ok(Some(found));
                }
            };
            let too_long = long.is_some() || entry.effective_size() > LONGEST_NAME;
            if too_long {
                return Err(broken(&self.after, io::Error::other("a name is too long, or given twice")));
            }
            let mut name = Vec::new();
            entry.read_to_end(&mut name).await.map_err(|why| broken(&self.after, why))?;
            name.pop_if(|last| *last == 0);
            *long = Some(name);
        }
        Ok(None)
    }

    /// Reads what follows the last entry: a tar ends in two empty blocks, and a gzip member in a checksum.
    pub async fn end(mut self) -> Result<(), ListError> {
        // The first of the two is what the last `next` has read, if it was not the end of the stream.
        let mut rest = Vec::new();
        let fill = &mut self.archive;
        fill.take(LONGEST_FILL as u64)
            .read_to_end(&mut rest)
            .await
            .map_err(|why| broken(&self.after, why))?;
        match rest.len() {
            short if short < BLOCK => Err(ListError::CutOff { after: self.after }),
            LONGEST_FILL.. => Err(ListError::Trailing),
            _ if rest.iter().any(|byte| *byte != 0) => Err(ListError::Trailing),
            _ => Ok(()),
        }
    }
}

impl Found<'_> {
    /// Reads some of its data; 0 at its end.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ListError> {
        self.data
            .read(buffer)
            .await
            .map_err(|source| ListError::BrokenWithin { path: self.path.clone(), source })
    }
}

impl fmt::Display for FoundKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { size } => write!(f, "a file of {size} bytes"),
            Self::Folder => f.write_str("a folder"),
            Self::Symlink { target } => write!(f, "a symlink to {target}"),
        }
    }
}

enum Odd {
    Header(io::Error),
    Refused { path: String, why: &'static str },
}

impl From<io::Error> for Odd {
    fn from(why: io::Error) -> Self {
        Self::Header(why)
    }
}

fn found(data: Raw<'_>, long_path: Option<Vec<u8>>, long_target: Option<Vec<u8>>) -> Result<Found<'_>, Odd> {
    let header = data.header();
    let path = text(long_path.unwrap_or_else(|| header.path_bytes().into_owned()))?;
    let path = path.strip_suffix('/').unwrap_or(&path).to_owned();
    let kind = match header.entry_type() {
        EntryType::Regular => FoundKind::File { size: header.raw_entry_size()? },
        EntryType::Directory => FoundKind::Folder,
        EntryType::Symlink => {
            let short = || header.link_name_bytes().map(Cow::into_owned).unwrap_or_default();
            FoundKind::Symlink { target: text(long_target.unwrap_or_else(short))? }
        }
        _ => return Err(Odd::Refused { path, why: "it is neither file nor folder nor symlink" }),
    };
    if !matches!(kind, FoundKind::File { .. }) && header.raw_entry_size()? > 0 {
        return Err(Odd::Refused { path, why: "it has data, but is no file" });
    }
    let (uid, gid, mode, modified) = (header.uid()?, header.gid()?, header.mode()?, header.mtime()?);
    Ok(Found { path, kind, uid, gid, mode, modified, data })
}

fn text(name: Vec<u8>) -> Result<String, Odd> {
    String::from_utf8(name).map_err(|why| Odd::Refused {
        path: String::from_utf8_lossy(why.as_bytes()).into_owned(),
        why: "its name is no UTF-8",
    })
}

fn broken(after: &str, source: io::Error) -> ListError {
    ListError::BrokenAfter { after: after.to_owned(), source }
}
