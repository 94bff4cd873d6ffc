//! Undoes an archive's compression, and gives up on one that unpacks to more than it can have been made of.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use nightshift_core::archive::ArchiveName;
use tokio::io::{AsyncRead, BufReader, ReadBuf};

use crate::error::ListError;

const BUFFER: usize = 256 << 10;
/// gzip never packs more than 1,032 bytes into one; zstd can, but what we collect does not let it.
const MOST_RATIO: u64 = 1_100;
/// So much may unpack from anything.
const ALLOWANCE: u64 = 1 << 30;

pub(crate) type Decoded<'r> = Box<dyn AsyncRead + Unpin + Send + 'r>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// For what was packed here, whatever it is.
    None,
    Ratio,
}

/// Compares what was unpacked with what it was unpacked from.
pub(crate) struct Meter {
    packed: Arc<AtomicU64>,
    unpacked: u64,
    bound: Bound,
}

pub(crate) fn decode<'r>(
    reader: impl AsyncRead + Unpin + Send + 'r,
    name: &ArchiveName,
    bound: Bound,
) -> (Decoded<'r>, Meter) {
    let packed = Arc::new(AtomicU64::new(0));
    let counted = Counted { reader, packed: Arc::clone(&packed) };
    let buffered = BufReader::with_capacity(BUFFER, counted);
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
        let most = self.packed.load(Ordering::Relaxed).saturating_mul(MOST_RATIO).saturating_add(ALLOWANCE);
        if self.bound == Bound::Ratio && self.unpacked > most {
            return Err(ListError::Bomb { path: path.to_owned() });
        }
        Ok(())
    }
}

struct Counted<R> {
    reader: R,
    packed: Arc<AtomicU64>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.reader).poll_read(cx, buffer))?;
        self.packed.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}
