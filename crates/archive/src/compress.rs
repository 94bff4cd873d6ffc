//! Compresses an archive in members of their own, so that what is compressed already is only wrapped.
//!
//! Concatenated gzip members are one gzip file, and concatenated zstd frames one zstd file, to every reader.

use std::io;

use flate2::{Compress, Compression as Level, FlushCompress, Status};
use nightshift_core::settings::Compression;
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation as _, OutBuffer};

use crate::error::Halt;
use crate::seal::Output;

const OUTPUT: usize = 128 << 10;
/// 32 KiB, the most that gzip allows, as a power of two.
const GZIP_WINDOW: u8 = 15;
const ZSTD_LEVEL: i32 = 3;
/// zstd tries least at its negative levels, and stores what then gets no smaller.
const ZSTD_STORE_LEVEL: i32 = -7;
/// A smaller file is not worth a member of its own: the text around it would compress worse.
const WORTH_A_MEMBER: u64 = 64 << 10;
const COMPRESSED: [&str; 15] =
    ["7z", "br", "bz2", "gpg", "gz", "jpg", "lz4", "lzma", "png", "rpm", "tgz", "txz", "xz", "zip", "zst"];

/// How much work to put into bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    Squeeze,
    Store,
}

impl Effort {
    /// For a file, by its name and size.
    pub fn for_file(path: &str, size: u64) -> Self {
        let compressed = path.rsplit_once('.').is_some_and(|(_, end)| COMPRESSED.contains(&end));
        if compressed && size >= WORTH_A_MEMBER { Self::Store } else { Self::Squeeze }
    }
}

/// Writes members, beginning a new one wherever the effort changes.
pub(crate) struct Members<'f> {
    output: Output<'f>,
    compression: Compression,
    open: Option<(Effort, Member)>,
    buffer: Vec<u8>,
}

/// Neither does anything when it is dropped: a member that was not finished stays unfinished.
enum Member {
    Gzip(Box<Compress>),
    Zstd(Box<Encoder<'static>>),
}

impl<'f> Members<'f> {
    pub fn new(output: Output<'f>, compression: Compression) -> Self {
        Self { output, compression, open: None, buffer: vec![0; OUTPUT] }
    }

    pub fn write(&mut self, effort: Effort, mut bytes: &[u8]) -> Result<(), Halt> {
        if self.open.as_ref().is_some_and(|(open, _)| *open != effort) {
            self.end_member()?;
        }
        let (_, member) = match &mut self.open {
            Some(open) => open,
            none => none.insert((effort, Member::new(self.compression, effort)?)),
        };
        while !bytes.is_empty() {
            let (read, written) = member.step(bytes, &mut self.buffer)?;
            self.output.write(&self.buffer[..written])?;
            bytes = &bytes[read..];
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<Output<'f>, Halt> {
        self.end_member()?;
        Ok(self.output)
    }

    fn end_member(&mut self) -> Result<(), Halt> {
        let Some((_, mut member)) = self.open.take() else { return Ok(()) };
        loop {
            let (ended, written) = member.end(&mut self.buffer)?;
            self.output.write(&self.buffer[..written])?;
            if ended {
                return Ok(());
            }
        }
    }
}

impl Member {
    fn new(compression: Compression, effort: Effort) -> io::Result<Self> {
        Ok(match (compression, effort) {
            (Compression::Gzip, Effort::Squeeze) => Self::gzip(Level::default()),
            (Compression::Gzip, Effort::Store) => Self::gzip(Level::none()),
            (Compression::Zstd, Effort::Squeeze) => Self::zstd(ZSTD_LEVEL)?,
            (Compression::Zstd, Effort::Store) => Self::zstd(ZSTD_STORE_LEVEL)?,
        })
    }

    fn gzip(level: Level) -> Self {
        Self::Gzip(Box::new(Compress::new_gzip(level, GZIP_WINDOW)))
    }

    fn zstd(level: i32) -> io::Result<Self> {
        let mut encoder = Encoder::new(level)?;
        encoder.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self::Zstd(Box::new(encoder)))
    }

    /// Takes some of `input`; returns how much it took, and how much it wrote.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<(usize, usize)> {
        match self {
            Self::Gzip(deflate) => {
                let before = (deflate.total_in(), deflate.total_out());
                deflate.compress(input, output, FlushCompress::None).map_err(io::Error::other)?;
                Ok(progress(deflate, before))
            }
            Self::Zstd(encoder) => {
                let (mut input, mut output) = (InBuffer::around(input), OutBuffer::around(output));
                encoder.run(&mut input, &mut output)?;
                Ok((input.pos(), output.pos()))
            }
        }
    }

    /// Writes what is left; returns whether that was all, and how much it wrote.
    fn end(&mut self, output: &mut [u8]) -> io::Result<(bool, usize)> {
        match self {
            Self::Gzip(deflate) => {
                let before = (deflate.total_in(), deflate.total_out());
                let status =
                    deflate.compress(&[], output, FlushCompress::Finish).map_err(io::Error::other)?;
                Ok((status == Status::StreamEnd, progress(deflate, before).1))
            }
            Self::Zstd(encoder) => {
                let mut output = OutBuffer::around(output);
                let left = encoder.finish(&mut output, true)?;
                Ok((left == 0, output.pos()))
            }
        }
    }
}

/// How far a step went: never further than its two buffers, so both fit.
fn progress(deflate: &Compress, before: (u64, u64)) -> (usize, usize) {
    ((deflate.total_in() - before.0) as usize, (deflate.total_out() - before.1) as usize)
}
