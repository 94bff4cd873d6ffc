//! Downloads: many read requests in flight; the chunks are delivered in order.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::try_join;
use futures_util::stream::FuturesOrdered;
use russh_sftp::client::error::Error as ProtocolError;
use russh_sftp::protocol::{OpenFlags, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::{OpenFile, Sftp, SftpError};

/// The minimum read-ahead in bytes, also on a short round trip, so that the server reads its disk in parallel.
const MIN_READ_AHEAD: u128 = 4 * 1024 * 1024;

/// The rate that the read-ahead allows on a longer round trip: about 800 MB/s.
const BYTES_PER_MILLISECOND: u128 = 800 * 1024;

/// Receives a file's content in order. A closure over `&[u8]` can be used.
pub trait ChunkSink: Send {
    fn chunk(&mut self, data: Vec<u8>) -> impl Future<Output = io::Result<()>> + Send;
}

impl<F: FnMut(&[u8]) -> io::Result<()> + Send> ChunkSink for F {
    async fn chunk(&mut self, data: Vec<u8>) -> io::Result<()> {
        self(&data)
    }
}

/// A received chunk. It keeps its permit of the connection's read-ahead until it is delivered.
struct Chunk {
    requested: usize,
    data: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl Sftp {
    /// Reads a range of a file into the sink, in order. A file that ends before the range does is an error.
    pub async fn download(
        &self,
        path: &str,
        range: Range<u64>,
        sink: &mut impl ChunkSink,
    ) -> Result<(), SftpError> {
        let opening = Instant::now();
        let file = self.open_file(path, "read", OpenFlags::READ, None).await?;
        let max_requests = self.requests_ahead(opening.elapsed());
        let pace = self.channel.pace();
        let mut in_flight = FuturesOrdered::new();
        let mut request_at = range.start;
        let mut waited = Duration::ZERO;
        let mut received = range.start;
        while received < range.end {
            while request_at < range.end && in_flight.len() < max_requests {
                // Only the first request waits for a permit, so that each download makes progress.
                let permit = if in_flight.is_empty() {
                    Arc::clone(&self.channel.read_ahead).acquire_owned().await.ok()
                } else {
                    Arc::clone(&self.channel.read_ahead).try_acquire_owned().ok()
                };
                let Some(permit) = permit else { break };
                let len = (range.end - request_at).min(self.channel.read_len.into());
                waited += self.channel.share.take(len).await;
                in_flight.push_back(file.read_chunk(request_at, len as usize, permit));
                request_at += len;
            }
            // The time that this host itself lets a transfer wait does not make the peer slow.
            let left = pace.left(received - range.start, waited);
            let next = timeout(left.min(file.progress_timeout()), in_flight.next());
            let Some(chunk) = next.await.map_err(|_| match left < file.progress_timeout() {
                true => self.channel.too_slow(file.operation("read"), received - range.start),
                false => file.stalled("read"),
            })?
            else {
                break;
            };
            let chunk = chunk?;
            received += chunk.data.len() as u64;
            if chunk.data.len() < chunk.requested {
                return Err(self.truncated(path, received, range.end));
            }
            sink.chunk(chunk.data).await.map_err(|source| SftpError::Sink {
                peer: self.peer().to_owned(),
                path: path.to_owned(),
                source,
            })?;
        }
        Ok(())
    }

    /// Reads a small file; a file of more than `max` bytes is refused.
    pub async fn read_small(&self, path: &str, max: usize) -> Result<Vec<u8>, SftpError> {
        let file = self.open_file(path, "read", OpenFlags::READ, None).await?;
        let first = (max as u64 + 1).min(self.channel.read_len.into());
        let stat = self.channel.raw.fstat(file.handle());
        let pace = self.channel.pace();
        // Both in one round trip: the size shows whether the first response was complete.
        let both = try_join(file.read_once(0, first as usize), stat);
        let (mut content, stat) = self.channel.request(file.operation("read"), both).await?;
        let size = stat.attrs.size.unwrap_or(u64::MAX);
        while content.len() <= max && content.len() as u64 != size {
            let len = (max - content.len() + 1).min(self.channel.read_len as usize);
            let read = file.read_once(content.len() as u64, len);
            let received = content.len() as u64;
            let more = self.channel.paced(file.operation("read"), pace, received, read).await?;
            if more.is_empty() {
                break;
            }
            content.extend_from_slice(&more);
        }
        if content.len() > max {
            return Err(SftpError::TooBig {
                peer: self.peer().to_owned(),
                path: path.to_owned(),
                limit: max as u64,
                unit: "bytes",
            });
        }
        Ok(content)
    }

    /// As many requests as the round trip needs, but not more: data far ahead of the sink leaves the processor's cache, which
    /// halves the rate on a short round trip (measured on loopback).
    fn requests_ahead(&self, round_trip: Duration) -> usize {
        let bytes = MIN_READ_AHEAD + round_trip.as_millis().saturating_mul(BYTES_PER_MILLISECOND);
        usize::try_from(bytes / u128::from(self.channel.read_len)).unwrap_or(usize::MAX).max(1)
    }

    fn truncated(&self, path: &str, end: u64, expected: u64) -> SftpError {
        SftpError::Truncated { peer: self.peer().to_owned(), path: path.to_owned(), end, expected }
    }
}

impl OpenFile {
    /// One request; empty at the end of the file.
    async fn read_once(&self, offset: u64, len: usize) -> Result<Vec<u8>, ProtocolError> {
        let requested = u32::try_from(len).unwrap_or(u32::MAX);
        match self.channel.raw.read(self.handle(), offset, requested).await {
            Err(ProtocolError::Status(status)) if status.status_code == StatusCode::Eof => Ok(Vec::new()),
            Ok(response) if response.data.len() > len => {
                Err(ProtocolError::UnexpectedBehavior("more data than was requested".into()))
            }
            other => other.map(|response| response.data),
        }
    }

    /// One chunk. If the server returns less, the rest is requested again; it is shorter only at the end of the file.
    async fn read_chunk(
        &self,
        offset: u64,
        requested: usize,
        permit: OwnedSemaphorePermit,
    ) -> Result<Chunk, SftpError> {
        let failed = |error| self.channel.failed(self.operation("read"), error);
        let mut data = self.read_once(offset, requested).await.map_err(failed)?;
        while data.len() < requested && !data.is_empty() {
            let at = offset + data.len() as u64;
            let more = self.read_once(at, requested - data.len()).await.map_err(failed)?;
            if more.is_empty() {
                break;
            }
            data.extend_from_slice(&more);
        }
        Ok(Chunk { requested, data, _permit: permit })
    }
}
