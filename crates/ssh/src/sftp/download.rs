//! Reading: many requests in flight, chunks handed on in order.

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

/// Asked for ahead however short the way is: a server reads its disk meanwhile.
const SHORT_AHEAD: u128 = 4 * 1024 * 1024;

/// The fastest that a download should be able to run, some 800 MB/s.
const BYTES_PER_MILLISECOND: u128 = 800 * 1024;

/// Takes a file's content in order. A closure over `&[u8]` is one.
pub trait ChunkSink: Send {
    fn chunk(&mut self, data: Vec<u8>) -> impl Future<Output = io::Result<()>> + Send;
}

impl<F: FnMut(&[u8]) -> io::Result<()> + Send> ChunkSink for F {
    async fn chunk(&mut self, data: Vec<u8>) -> io::Result<()> {
        self(&data)
    }
}

/// A chunk that arrived, with its share of the read-ahead until it is handed on.
struct Chunk {
    wanted: usize,
    data: Vec<u8>,
    _share: OwnedSemaphorePermit,
}

impl Sftp {
    /// Reads a range of a file into the sink, in order. A file that ends before the range does is an error.
    pub async fn download(
        &self,
        path: &str,
        range: Range<u64>,
        sink: &mut impl ChunkSink,
    ) -> Result<(), SftpError> {
        let asked = Instant::now();
        let file = self.open_file(path, "read", OpenFlags::READ, None).await?;
        let most = self.requests_ahead(asked.elapsed());
        let mut in_flight = FuturesOrdered::new();
        let mut ask_at = range.start;
        let mut arrived = range.start;
        while arrived < range.end {
            while ask_at < range.end && in_flight.len() < most {
                let share = if in_flight.is_empty() {
                    Arc::clone(&self.channel.read_ahead).acquire_owned().await.ok()
                } else {
                    Arc::clone(&self.channel.read_ahead).try_acquire_owned().ok()
                };
                let Some(share) = share else { break };
                let len = (range.end - ask_at).min(self.channel.read_len.into());
                in_flight.push_back(file.read_chunk(ask_at, len as usize, share));
                ask_at += len;
            }
            let next = timeout(file.patience(), in_flight.next());
            let Some(chunk) = next.await.map_err(|_| file.stalled("read"))? else {
                break;
            };
            let chunk = chunk?;
            arrived += chunk.data.len() as u64;
            if chunk.data.len() < chunk.wanted {
                return Err(self.truncated(path, arrived, range.end));
            }
            sink.chunk(chunk.data).await.map_err(|source| SftpError::Sink {
                peer: self.peer().to_owned(),
                path: path.to_owned(),
                source,
            })?;
        }
        Ok(())
    }

    /// Reads a small file whole; one of more than `max` bytes is refused.
    pub async fn read_small(&self, path: &str, max: usize) -> Result<Vec<u8>, SftpError> {
        let file = self.open_file(path, "read", OpenFlags::READ, None).await?;
        let first = (max as u64 + 1).min(self.channel.read_len.into());
        let look = self.channel.raw.fstat(file.handle());
        // Both in one round trip: the size tells whether the first answer was all.
        let both = try_join(file.read_once(0, first as usize), look);
        let (mut content, stat) = self.channel.ask(file.doing("read"), both).await?;
        let size = stat.attrs.size.unwrap_or(u64::MAX);
        while content.len() <= max && content.len() as u64 != size {
            let len = (max - content.len() + 1).min(self.channel.read_len as usize);
            let read = file.read_once(content.len() as u64, len);
            let more = self.channel.ask(file.doing("read"), read).await?;
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

    /// As many requests as the round trip needs and not more: what is ahead of the sink leaves the processor's cache,
    /// which on a short way halves the speed.
    fn requests_ahead(&self, round_trip: Duration) -> usize {
        let bytes = SHORT_AHEAD + round_trip.as_millis().saturating_mul(BYTES_PER_MILLISECOND);
        usize::try_from(bytes / u128::from(self.channel.read_len)).unwrap_or(usize::MAX).max(1)
    }

    fn truncated(&self, path: &str, end: u64, expected: u64) -> SftpError {
        SftpError::Truncated { peer: self.peer().to_owned(), path: path.to_owned(), end, expected }
    }
}

impl OpenFile {
    /// One request; empty at the end of the file.
    async fn read_once(&self, offset: u64, len: usize) -> Result<Vec<u8>, ProtocolError> {
        let asked = u32::try_from(len).unwrap_or(u32::MAX);
        match self.channel.raw.read(self.handle(), offset, asked).await {
            Err(ProtocolError::Status(status)) if status.status_code == StatusCode::Eof => Ok(Vec::new()),
            Ok(answer) if answer.data.len() > len => {
                Err(ProtocolError::UnexpectedBehavior("more data than was asked for".into()))
            }
            other => other.map(|answer| answer.data),
        }
    }

    /// One chunk, asked for again where the server answered with less; shorter only at the end of the file.
    async fn read_chunk(
        &self,
        offset: u64,
        wanted: usize,
        share: OwnedSemaphorePermit,
    ) -> Result<Chunk, SftpError> {
        let failed = |error| self.channel.failed(self.doing("read"), error);
        let mut data = self.read_once(offset, wanted).await.map_err(failed)?;
        while data.len() < wanted && !data.is_empty() {
            let at = offset + data.len() as u64;
            let more = self.read_once(at, wanted - data.len()).await.map_err(failed)?;
            if more.is_empty() {
                break;
            }
            data.extend_from_slice(&more);
        }
        Ok(Chunk { wanted, data, _share: share })
    }
}
