//! Uploads one large file over several parallel connections, each with its own parts of the file. An upload is resumed with
//! the list of parts that are known to be on the server's disk.
//!
//! The server's window limits one connection to 2 MiB in flight; several connections can have more.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use nightshift_core::range_set::RangeSet;
use russh_sftp::protocol::OpenFlags;
use thiserror::Error;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::time::timeout;

use crate::sftp::{OpenFile, Sftp, SftpError};

/// The maximum number of connections of one upload.
pub const MAX_CONNECTIONS: usize = 4;

/// One connection is used per this much round trip: with a window of 2 MiB, it sends 1 GB/s at 2 ms, faster than a disk writes.
const ROUND_TRIP_PER_CONNECTION: Duration = Duration::from_millis(2);

/// The size of a part in bytes: what a connection takes from the queue at a time.
const PART: u64 = 8 * 1024 * 1024;

/// How many bytes may be unacknowledged on one connection: the server's window, and the same again for the time until the
/// responses arrive.
const MAX_IN_FLIGHT: usize = 4 * 1024 * 1024;

/// Each connection requests an fsync after this many bytes. An interrupted upload sends at most these again.
const CHECKPOINT: u64 = 64 * 1024 * 1024;

#[derive(Debug, Error)]
pub enum UploadError {
    #[error("no connection is available for the upload")]
    NoSessions,
    #[error("cannot read {}", path.display())]
    Local { path: PathBuf, source: io::Error },
    #[error("{} changed while it was uploaded", path.display())]
    LocalChanged { path: PathBuf },
    #[error("{peer}: {path} has {found} bytes after the upload, but should have {expected}")]
    WrongSize { peer: String, path: String, found: u64, expected: u64 },
    #[error(transparent)]
    Remote(#[from] SftpError),
}

/// The upload of one file to one remote.
pub struct Upload<'a> {
    pub local: &'a Path,
    /// The path to write to: a temporary name, which is not used as the finished file.
    pub remote_part: &'a str,
    /// The mode of a newly created file.
    pub mode: u32,
    /// The parts that an earlier attempt reported as done, for the same file.
    pub done: RangeSet,
}

/// A completed upload. Its content is not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    pub size: u64,
    /// Bytes that were sent in this attempt.
    pub sent: u64,
    /// False if the server has no fsync: then a power cut may lose acknowledged data.
    pub synced: bool,
}

impl Upload<'_> {
    /// Sends the missing parts. `on_progress` gets all parts that are acknowledged and, if the server supports it, synced; the
    /// caller stores them for a resume. If a connection fails, the others send its parts.
    pub async fn run(
        self,
        sessions: &[Sftp],
        on_progress: impl FnMut(&RangeSet) + Send,
    ) -> Result<Uploaded, UploadError> {
        let size = self.local_size().await?;
        let done = self.prepare(sessions, size).await?;
        let job = Job {
            local: self.local,
            remote_part: self.remote_part,
            missing: Mutex::new(done.gaps(size).flat_map(parts).collect()),
            progress: Mutex::new(Progress { done, on_progress }),
        };
        let sent = job.missing_bytes();
        run_lanes(&job, sessions).await?;
        self.check_size(sessions, size).await?;
        Ok(Uploaded { size, sent, synced: sessions.iter().any(Sftp::can_fsync) })
    }

    async fn local_size(&self) -> Result<u64, UploadError> {
        let metadata = tokio::fs::metadata(self.local).await;
        metadata.map(|file| file.len()).map_err(|source| local_error(self.local, source))
    }

    /// Returns the parts that need not be sent again: none if the remote file is missing or shorter than they are.
    async fn prepare(&self, sessions: &[Sftp], size: u64) -> Result<RangeSet, UploadError> {
        let mut failure = UploadError::NoSessions;
        for sftp in sessions {
            match self.prepare_over(sftp, size).await {
                Err(error) if error.is_connection() => failure = error.into(),
                other => return Ok(other?),
            }
        }
        Err(failure)
    }

    async fn prepare_over(&self, sftp: &Sftp, size: u64) -> Result<RangeSet, SftpError> {
        if !self.done.is_empty() && self.done.end() <= size {
            match sftp.lstat(self.remote_part).await {
                Ok(part) if part.size >= self.done.end() && part.size <= size => {
                    return Ok(self.done.clone());
                }
                Ok(_) => {}
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error),
            }
        }
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let part = sftp.open_file(self.remote_part, "create", flags, Some(self.mode)).await?;
        part.close().await?;
        Ok(RangeSet::new())
    }

    async fn check_size(&self, sessions: &[Sftp], expected: u64) -> Result<(), UploadError> {
        let mut failure = UploadError::NoSessions;
        for sftp in sessions {
            match sftp.lstat(self.remote_part).await {
                Ok(part) if part.size == expected => return Ok(()),
                Ok(part) => {
                    return Err(UploadError::WrongSize {
                        peer: sftp.peer().to_owned(),
                        path: self.remote_part.to_owned(),
                        found: part.size,
                        expected,
                    });
                }
                Err(error) if error.is_connection() => failure = error.into(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(failure)
    }
}

fn parts(gap: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let starts = (gap.start..gap.end).step_by(PART as usize);
    starts.map(move |start| start..gap.end.min(start + PART))
}

fn local_error(path: &Path, source: io::Error) -> UploadError {
    UploadError::Local { path: path.to_owned(), source }
}

/// Shared by the lanes of one upload. All lanes run in one task; no lock is kept across an await.
struct Job<'a, F> {
    local: &'a Path,
    remote_part: &'a str,
    missing: Mutex<VecDeque<Range<u64>>>,
    progress: Mutex<Progress<F>>,
}

struct Progress<F> {
    done: RangeSet,
    on_progress: F,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<F: FnMut(&RangeSet)> Job<'_, F> {
    fn missing_bytes(&self) -> u64 {
        lock(&self.missing).iter().map(|part| part.end - part.start).sum()
    }

    fn take(&self) -> Option<Range<u64>> {
        lock(&self.missing).pop_front()
    }

    /// Returns the unfinished parts of a failed lane to the queue.
    fn put_back(&self, unfinished: RangeSet) {
        lock(&self.missing).extend(unfinished.iter().flat_map(parts));
    }

    fn report(&self, finished: &RangeSet) {
        let mut progress = lock(&self.progress);
        let Progress { done, on_progress } = &mut *progress;
        done.extend(finished);
        on_progress(done);
    }
}

/// How many connections are useful for a server: one, and one more per 2 ms of round trip, because the window limits each.
/// The round trip is measured with one request for `directory`.
pub async fn useful_connections(sftp: &Sftp, directory: &str) -> usize {
    let requested = Instant::now();
    match sftp.lstat(directory).await {
        Ok(_) => {
            let more = requested.elapsed().as_micros() / ROUND_TRIP_PER_CONNECTION.as_micros();
            1 + usize::try_from(more).unwrap_or(MAX_CONNECTIONS).min(MAX_CONNECTIONS - 1)
        }
        // The round trip is unknown. The upload will report the error.
        Err(_) => MAX_CONNECTIONS,
    }
}

/// Runs a lane on each connection. When one fails, idle ones are started again for its parts.
async fn run_lanes<F: FnMut(&RangeSet) + Send>(
    job: &Job<'_, F>,
    sessions: &[Sftp],
) -> Result<(), UploadError> {
    let mut lanes: FuturesUnordered<_> = sessions.iter().map(|sftp| run_lane(job, sftp)).collect();
    let mut idle = Vec::new();
    let mut failure = UploadError::NoSessions;
    while let Some((sftp, result)) = lanes.next().await {
        match result {
            Ok(()) => idle.push(sftp),
            Err(UploadError::Remote(error)) if error.is_connection() => {
                tracing::warn!(peer = sftp.peer(), %error, "a connection of an upload failed; the others continue");
                failure = error.into();
            }
            Err(error) => return Err(error),
        }
        if job.missing_bytes() > 0 {
            lanes.extend(idle.drain(..).map(|sftp| run_lane(job, sftp)));
        }
    }
    if job.missing_bytes() > 0 { Err(failure) } else { Ok(()) }
}

async fn run_lane<'a, F: FnMut(&RangeSet) + Send>(
    job: &Job<'_, F>,
    sftp: &'a Sftp,
) -> (&'a Sftp, Result<(), UploadError>) {
    let mut unfinished = RangeSet::new();
    let result = send_parts(job, sftp, &mut unfinished).await;
    job.put_back(unfinished);
    (sftp, result)
}

/// Sends parts until none is left. `unfinished` always contains the parts that were taken and are not reported yet.
async fn send_parts<F: FnMut(&RangeSet) + Send>(
    job: &Job<'_, F>,
    sftp: &Sftp,
    unfinished: &mut RangeSet,
) -> Result<(), UploadError> {
    let mut part = job.take();
    // A part is added as soon as it is taken, so that any failure returns it to the queue.
    unfinished.extend(&part.iter().cloned().collect());
    if part.is_none() {
        return Ok(());
    }
    let local = File::open(job.local).await.map_err(|source| local_error(job.local, source))?;
    let remote = sftp.open_file(job.remote_part, "write", OpenFlags::WRITE, None).await?;
    let mut lane = Lane { path: job.local, local, remote: &remote, in_flight: FuturesUnordered::new() };
    let mut since_checkpoint = 0;
    while let Some(sending) = part {
        since_checkpoint += sending.end - sending.start;
        lane.send(sending).await?;
        part = if since_checkpoint < CHECKPOINT { job.take() } else { None };
        if part.is_none() {
            lane.drain().await?;
            remote.sync().await?;
            job.report(&std::mem::take(unfinished));
            since_checkpoint = 0;
            part = job.take();
        }
        unfinished.extend(&part.iter().cloned().collect());
    }
    drop(lane);
    remote.close().await?;
    Ok(())
}

/// One connection's share of the work.
struct Lane<'a> {
    path: &'a Path,
    local: File,
    remote: &'a OpenFile,
    in_flight: FuturesUnordered<BoxFuture<'a, Result<(), SftpError>>>,
}

impl Lane<'_> {
    /// Reads and sends one part, block by block. The last blocks may still be in flight when it returns.
    async fn send(&mut self, part: Range<u64>) -> Result<(), UploadError> {
        let path = self.path;
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::UnexpectedEof => UploadError::LocalChanged { path: path.to_owned() },
            _ => local_error(path, source),
        };
        let max_blocks = (MAX_IN_FLIGHT / self.remote.write_len()).max(1);
        self.local.seek(io::SeekFrom::Start(part.start)).await.map_err(failed)?;
        let mut offset = part.start;
        while offset < part.end {
            while self.in_flight.len() >= max_blocks {
                self.acknowledged().await?;
            }
            let len = (part.end - offset).min(self.remote.write_len() as u64);
            let mut block = vec![0; len as usize];
            self.local.read_exact(&mut block).await.map_err(failed)?;
            self.in_flight.push(self.remote.write(offset, block).boxed());
            offset += len;
            // A write is sent when it is first polled: do that now, not after the next block was read.
            if let Some(Some(acknowledged)) = self.in_flight.next().now_or_never() {
                acknowledged?;
            }
        }
        Ok(())
    }

    /// Waits until the server has acknowledged everything.
    async fn drain(&mut self) -> Result<(), UploadError> {
        while !self.in_flight.is_empty() {
            self.acknowledged().await?;
        }
        Ok(())
    }

    async fn acknowledged(&mut self) -> Result<(), UploadError> {
        match timeout(self.remote.progress_timeout(), self.in_flight.next()).await {
            Err(_) => Err(self.remote.stalled("write").into()),
            Ok(result) => Ok(result.unwrap_or(Ok(()))?),
        }
    }
}
