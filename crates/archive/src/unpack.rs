//! Decompresses an archive, and stops if it unpacks to more than nightshift can have packed.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use nightshift_core::archive::ArchiveName;
use tokio::io::{AsyncRead, BufReader, ReadBuf};

use crate::error::ListError;

const BUFFER: usize = 256 << 10;
/// gzip compresses at most 1,032 bytes into one. zstd can do more, but collected files do not reach this.
const MAX_RATIO: u64 = 1_100;
/// Bytes that any archive may unpack to.
const MIN_LIMIT: u64 = 1 << 30;

pub(crate) type Decoded<'r> = Box<dyn AsyncRead + Unpin + Send + 'r>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// For an archive that this host packs.
    None,
    Ratio,
}

/// Compares the number of unpacked bytes with that of the packed ones.
pub(crate) struct Meter {
    packed: Arc<AtomicU64>,
    unpacked: u64,
    bound: Bound,
}

pub(crate) fn decode<'r>(
    reader: impl Read + Unpin + Send + 'r,
    name: &ArchiveName,
    bound: Bound,
) -> (Decoded<'r>, Meter) {
    let packed = Arc::new(AtomicU64::new(0));
    let blocking = Blocking { reader, count: Arc::clone(&packed) };
    let buffered = BufReader::with_capacity(BUFFER, blocking);
    let decoded: Decoded<'r> = if name.zstd {
        let mut decoder = ZstdDecoder::new(buffered);
        decoder.multiple_members(true);
        Box::new(decoder)
    } else {
        let mut decoder = GzipDecoder::new(buffered);
        decoder.multiple_members(true);
        Box::new(decoder)
    };
    (decoded, Meter { packed, unpacked: 0, bound })
}

impl Meter {
    /// Counts what was unpacked of the entry at `path`.
    pub fn unpacked(&mut self, bytes: u64, path: &str) -> Result<(), ListError> {
        self.unpacked += bytes;
        let max = self.packed.load(Ordering::Relaxed).saturating_mul(MAX_RATIO).saturating_add(MIN_LIMIT);
        if self.bound == Bound::Ratio && self.unpacked > max {
            return Err(ListError::Bomb { path: path.to_owned() });
        }
        Ok(())
    }
}

/// Blocks in `poll_read` and counts the bytes. Only for a thread that polls nothing else.
struct Blocking<R> {
    reader: R,
    count: Arc<AtomicU64>,
}

impl<R: Read + Unpin> AsyncRead for Blocking<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = loop {
            match self.reader.read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        Poll::Ready(read.map(|length| {
            self.count.fetch_add(length as u64, Ordering::Relaxed);
            buffer.advance(length);
        }))
    }
}
