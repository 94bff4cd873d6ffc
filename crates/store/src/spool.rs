//! A stored snapshot, unpacked into a file without a name: to be read in place it must be as etcd wrote it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::write::MultiGzDecoder;
use nightshift_core::manifest::{Item, ItemKind, Manifest};
use nightshift_snapshot::{Ending, TrailerCheck};
use serde::{Deserialize, Serialize};

use crate::space::{self, SpaceError};

/// So much is written between two looks at the room that is left, where the size is not known beforehand.
const STRIDE: u64 = 64 << 20;

/// The longest window that zstd may ask for, as a power of two: 128 MiB, as its own command takes.
const WINDOW_LOG: u32 = 27;

/// Why the unpacking of something is given up.
pub fn more_than(expected: u64) -> String {
    format!("it unpacks to more than the {expected} bytes that its manifest says")
}

/// How a snapshot is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// By its first bytes.
    pub fn of(head: &[u8]) -> Self {
        if head.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else {
            Self::Plain
        }
    }

    /// By the name of a set's file; `None` where it is no snapshot.
    pub fn of_snapshot(path: &str) -> Option<Self> {
        match path {
            "snapshot.db" => Some(Self::Plain),
            "snapshot.db.gz" => Some(Self::Gzip),
            "snapshot.db.zst" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// What was packed, as it is read.
    pub fn unpacked(self, source: File) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::Plain => Box::new(source),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(source)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::new(source)?;
                decoder.window_log_max(WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}

/// The snapshot of a set: its file, how that is packed, and its size.
pub fn snapshot_of(manifest: &Manifest) -> Option<(&Item, Packing, u64)> {
    manifest.items.iter().find_map(|item| match item.kind {
        ItemKind::File { size, .. } => Some((item, Packing::of_snapshot(&item.path)?, size)),
        ItemKind::Folder | ItemKind::Symlink { .. } => None,
    })
}

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("there is no room to unpack it")]
    Room(#[source] SpaceError),
    #[error("no file can be made in {}", folder.display())]
    Create { folder: PathBuf, source: io::Error },
    #[error("it does not unpack to its end")]
    Unfinished(#[source] io::Error),
}

/// Unpacks what is written to it.
pub struct Spool(Unpacker);

/// The unpacked snapshot.
#[derive(Debug)]
pub struct Spooled {
    pub file: File,
    /// Its length, its hash, and whether it ends with that.
    pub ending: Ending,
}

enum Unpacker {
    Plain(Sink),
    Gzip(Box<MultiGzDecoder<Sink>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Sink>>),
}

struct Sink {
    file: File,
    folder: PathBuf,
    check: TrailerCheck,
    written: u64,
    /// What its manifest says it has, in bytes.
    expected: Option<u64>,
    /// Up to here there was room.
    cleared: u64,
}

impl Spool {
    /// Makes the file, where there is room for `expected` bytes and some more.
    pub fn new(folder: &Path, packing: Packing, expected: Option<u64>) -> Result<Self, SpoolError> {
        let first = expected.unwrap_or(STRIDE);
        demand(folder, first).map_err(SpoolError::Room)?;
        let file = tempfile::tempfile_in(folder)
            .map_err(|source| SpoolError::Create { folder: folder.to_owned(), source })?;
        let check = TrailerCheck::default();
        let sink = Sink { file, folder: folder.to_owned(), check, written: 0, expected, cleared: first };
        Ok(Self(match packing {
            Packing::Plain => Unpacker::Plain(sink),
            Packing::Gzip => Unpacker::Gzip(Box::new(MultiGzDecoder::new(sink))),
            Packing::Zstd => {
                let mut decoder = zstd::stream::write::Decoder::new(sink).map_err(SpoolError::Unfinished)?;
                decoder.window_log_max(WINDOW_LOG).map_err(SpoolError::Unfinished)?;
                Unpacker::Zstd(Box::new(decoder))
            }
        }))
    }

    /// Ends the unpacking. That the whole snapshot came is for its size and hash to say.
    pub fn finish(self) -> Result<Spooled, SpoolError> {
        let Sink { file, check, .. } = match self.0 {
            Unpacker::Plain(sink) => sink,
            Unpacker::Gzip(decoder) => decoder.finish().map_err(SpoolError::Unfinished)?,
            Unpacker::Zstd(mut decoder) => {
                decoder.flush().map_err(SpoolError::Unfinished)?;
                decoder.into_inner()
            }
        };
        Ok(Spooled { file, ending: check.finish() })
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Unpacker::Plain(sink) => sink.write(bytes),
            Unpacker::Gzip(decoder) => decoder.write(bytes),
            Unpacker::Zstd(decoder) => decoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let after = self.written + bytes.len() as u64;
        if let Some(expected) = self.expected.filter(|expected| after > *expected) {
            return Err(io::Error::other(more_than(expected)));
        }
        if after > self.cleared {
            demand(&self.folder, STRIDE).map_err(|error| io::Error::other(nightshift_core::chain(&error)))?;
            self.cleared = after + STRIDE;
        }
        let written = self.file.write(bytes)?;
        self.check.update(&bytes[..written]);
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A tenth of the file system stays free, but of a large one no more than this.
const MOST_LEFT: u64 = 1 << 30;

fn demand(folder: &Path, need: u64) -> Result<(), SpaceError> {
    let leave = (space::room(folder)?.total / 10).min(MOST_LEFT);
    space::demand(folder, need, 1, leave)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nightshift_core::digest::Digest;
    use std::os::unix::fs::FileExt as _;

    const TEXT: &[u8] = b"a snapshot, as etcd wrote it; ";

    fn packed(packing: Packing, bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        match packing {
            Packing::Plain => packed.extend_from_slice(bytes),
            Packing::Gzip => {
                let mut encoder = flate2::read::GzEncoder::new(bytes, flate2::Compression::fast());
                encoder.read_to_end(&mut packed).unwrap();
            }
            Packing::Zstd => packed = zstd::encode_all(bytes, 1).unwrap(),
        }
        packed
    }

    fn spooled(packing: Packing, packed: &[u8], expected: Option<u64>) -> io::Result<Spooled> {
        let mut spool = Spool::new(&std::env::temp_dir(), packing, expected).unwrap();
        packed.chunks(1000).try_for_each(|chunk| spool.write_all(chunk))?;
        spool.finish().map_err(io::Error::other)
    }

    #[test]
    fn a_snapshot_is_unpacked_however_it_is_stored() {
        let bytes = TEXT.repeat(10_000);
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
            let packed = packed(packing, &bytes);
            assert_eq!(Packing::of(&packed), packing);
            let spooled = spooled(packing, &packed, Some(bytes.len() as u64)).unwrap();
            let Ending { length, sha256, .. } = spooled.ending;
            assert_eq!((length, Digest::from(sha256)), (bytes.len() as u64, Digest::of(&bytes)));
            let mut head = [0; TEXT.len()];
            spooled.file.read_exact_at(&mut head, 0).unwrap();
            assert_eq!(head, TEXT);
        }
    }

    #[test]
    fn what_unpacks_to_more_than_its_manifest_says_is_given_up() {
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
            let error = spooled(packing, &packed(packing, &TEXT.repeat(10_000)), Some(1000)).unwrap_err();
            assert!(error.to_string().contains("more than the 1000 bytes"), "{packing:?}: {error}");
        }
    }

    #[test]
    fn what_was_cut_off_does_not_pass_for_the_whole() {
        let bytes = TEXT.repeat(10_000);
        let cut = |packing| {
            let mut packed = packed(packing, &bytes);
            packed.truncate(packed.len() / 2);
            spooled(packing, &packed, None)
        };
        assert!(cut(Packing::Gzip).is_err());
        assert!(
            cut(Packing::Zstd).is_err() || cut(Packing::Zstd).unwrap().ending.length < bytes.len() as u64
        );
    }

    #[test]
    fn a_snapshot_for_which_there_is_no_room_is_refused_before_it_is_begun() {
        let refused = Spool::new(&std::env::temp_dir(), Packing::Plain, Some(u64::MAX / 4)).map(drop);
        assert!(matches!(refused, Err(SpoolError::Room(_))));
    }
}
