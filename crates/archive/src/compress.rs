//! Compresses an archive in several gzip members or zstd frames, so that files that are compressed already are only
//! stored.
//!
//! Every reader takes concatenated gzip members as one gzip file (RFC 1952, 2.2), and concatenated zstd frames as one
//! zstd file (RFC 8878, 3).

use std::io::{self, Write as _};

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use nightshift_core::settings::Compression;
use zstd::Encoder;

use crate::error::PackError;
use crate::output::Output;

const ZSTD_LEVEL: i32 = 3;
/// At its negative levels zstd spends the least time, and stores what it cannot make smaller.
const ZSTD_STORE_LEVEL: i32 = -7;
/// Bytes. A member of its own for a smaller file costs more than it saves: the text around it compresses worse.
const MIN_STORED_SIZE: u64 = 64 << 10;
const COMPRESSED: [&str; 15] =
    ["7z", "br", "bz2", "gpg", "gz", "jpg", "lz4", "lzma", "png", "rpm", "tgz", "txz", "xz", "zip", "zst"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    Compress,
    Store,
}

impl Effort {
    /// For a file, by its name and size.
    pub fn for_file(path: &str, size: u64) -> Self {
        let compressed = path.rsplit_once('.').is_some_and(|(_, end)| COMPRESSED.contains(&end));
        if compressed && size >= MIN_STORED_SIZE { Self::Store } else { Self::Compress }
    }
}

/// Writes members. A new one begins when the effort changes.
pub(crate) struct Members<'f> {
    output: Output<'f>,
    compression: Compression,
    open: Option<(Effort, Member)>,
}

/// Compresses into memory. A gzip encoder finishes its member when it is dropped, also after an error, and a truncated
/// archive must not end in a complete member.
enum Member {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(Encoder<'static, Vec<u8>>),
}

impl<'f> Members<'f> {
    pub const fn new(output: Output<'f>, compression: Compression) -> Self {
        Self { output, compression, open: None }
    }

    pub fn write(&mut self, effort: Effort, bytes: &[u8]) -> Result<(), PackError> {
        if self.open.as_ref().is_some_and(|(open, _)| *open != effort) {
            self.end_member()?;
        }
        let (_, member) = match &mut self.open {
            Some(open) => open,
            none => none.insert((effort, Member::new(self.compression, effort)?)),
        };
        let compressed = member.write(bytes)?;
        self.output.write(compressed)?;
        compressed.clear();
        Ok(())
    }

    pub fn finish(mut self) -> Result<Output<'f>, PackError> {
        self.end_member()?;
        Ok(self.output)
    }

    fn end_member(&mut self) -> Result<(), PackError> {
        match self.open.take() {
            Some((_, member)) => self.output.write(&member.finish()?),
            None => Ok(()),
        }
    }
}

impl Member {
    fn new(compression: Compression, effort: Effort) -> io::Result<Self> {
        let store = effort == Effort::Store;
        Ok(match compression {
            Compression::Gzip => {
                let level = if store { Level::none() } else { Level::default() };
                Self::Gzip(GzEncoder::new(Vec::new(), level))
            }
            Compression::Zstd => {
                let level = if store { ZSTD_STORE_LEVEL } else { ZSTD_LEVEL };
                let mut encoder = Encoder::new(Vec::new(), level)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Returns the compressed bytes so far, for the caller to take.
    fn write(&mut self, bytes: &[u8]) -> io::Result<&mut Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes).map(|()| encoder.get_mut()),
            Self::Zstd(encoder) => encoder.write_all(bytes).map(|()| encoder.get_mut()),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}
