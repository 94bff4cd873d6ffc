//! How a snapshot is compressed, and the reader that decompresses it.

use std::io::{self, Read};

use nightshift_core::manifest::{Item, ItemKind, Manifest};
use nightshift_snapshot::{Ending, TrailerCheck};
use serde::{Deserialize, Serialize};

/// The size of a read, in bytes.
const CHUNK: usize = 256 << 10;
/// The largest window that zstd may use, as a power of two: 128 MiB, the limit of the `zstd` command too.
const MAX_WINDOW_LOG: u32 = 27;

/// How a snapshot is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// By the first bytes of a file.
    pub fn of(head: &[u8]) -> Self {
        if head.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else {
            Self::Plain
        }
    }

    /// By the name of a set's file; `None` where that is not a snapshot.
    pub fn of_snapshot(path: &str) -> Option<Self> {
        match path {
            "snapshot.db" => Some(Self::Plain),
            "snapshot.db.gz" => Some(Self::Gzip),
            "snapshot.db.zst" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// By the name of a cold copy.
    pub fn of_member(path: &str) -> Self {
        if path.ends_with(".zst") { Self::Zstd } else { Self::Gzip }
    }

    /// Decompresses `packed`. Reading fails after `max` bytes, the size in the manifest, because a small file may
    /// unpack to any size.
    pub fn unpack<'r>(self, packed: impl Read + 'r, max: Option<u64>) -> io::Result<Unpacked<'r>> {
        let plain: Box<dyn Read + 'r> = match self {
            Self::Plain => Box::new(packed),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::new(packed)?;
                decoder.window_log_max(MAX_WINDOW_LOG)?;
                Box::new(decoder)
            }
        };
        Ok(Unpacked { plain, size: 0, max })
    }
}

/// The content of a compressed file.
pub struct Unpacked<'r> {
    plain: Box<dyn Read + 'r>,
    size: u64,
    max: Option<u64>,
}

impl Unpacked<'_> {
    /// Unpacks to the end: each piece goes to `write`. Returns the length and the hash of the whole, and whether they match
    /// its trailer. `unreadable` makes the error of a failed read.
    pub fn pour<E>(
        mut self,
        unreadable: impl FnOnce(io::Error) -> E,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Ending, E> {
        let mut trailer = TrailerCheck::default();
        let mut buffer = vec![0; CHUNK];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok(trailer.finish()),
                Ok(read) => {
                    trailer.update(&buffer[..read]);
                    write(&buffer[..read])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.plain.read(buffer)?;
        self.size += read as u64;
        match self.max.filter(|max| self.size > *max) {
            Some(max) => {
                Err(io::Error::other(format!("it unpacks to more than the {max} bytes in its manifest")))
            }
            None => Ok(read),
        }
    }
}

/// The snapshot of a set: its item, how it is compressed, and its size as stored.
pub fn snapshot_of(manifest: &Manifest) -> Option<(&Item, Packing, u64)> {
    manifest.items.iter().find_map(|item| match item.kind {
        ItemKind::File { size, .. } => Some((item, Packing::of_snapshot(&item.path)?, size)),
        ItemKind::Directory | ItemKind::Symlink { .. } => None,
    })
}
