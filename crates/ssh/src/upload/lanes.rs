//! The lanes of an upload: each sends parts of the file over its own connection.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use nightshift_core::range_set::RangeSet;
use russh_sftp::protocol::OpenFlags;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::error::UploadError;
use crate::sftp::{OpenFile, Sftp, SftpError};

/// The size of a part in bytes: what a connection takes from the queue at a time.
const PART: u64 = 8 * 1024 * 1024;

/// How many bytes may be unacknowledged on one connection: the server's window, and the same again for the time until the
/// responses arrive.
const MAX_IN_FLIGHT: usize = 4 * 1024 * 1024;

/// Each connection requests an fsync after this many bytes. An interrupted upload sends at most these again.
const CHECKPOINT: u64 = 64 * 1024 * 1024;

/// Shared by the lanes of one upload. All lanes run in one task; no lock is kept across an await.
pub(super) struct Job<'a, F> {
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

impl<'a, F: FnMut(&RangeSet)> Job<'a, F> {
    pub fn new(local: &'a Path, remote_part: &'a str, size: u64, done: RangeSet, on_progress: F) -> Self {
        Self {
            local,
            remote_part,
            missing: Mutex::new(done.gaps(size).flat_map(parts).collect()),
            progress: Mutex::new(Progress { done, on_progress }),
        }
    }

    pub fn missing_bytes(&self) -> u64 {
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

fn parts(gap: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let starts = (gap.start..gap.end).step_by(PART as usize);
    starts.map(move |start| start..gap.end.min(start + PART))
}

/// Runs a lane on each connection; the one that created the file writes through that handle. When a lane fails, idle ones are
/// started again for its parts.
pub(super) async fn run_lanes<F: FnMut(&RangeSet) + Send>(
    job: &Job<'_, F>,
    sessions: &[Sftp],
    created: Option<(usize, OpenFile)>,
) -> Result<(), UploadError> {
    let (creator, mut file) = created.map_or((0, None), |(lane, file)| (lane, Some(file)));
    let may_be_denied = file.is_some();
    let mut lanes: FuturesUnordered<_> = sessions
        .iter()
        .enumerate()
        .map(|(n, sftp)| run_lane(job, sftp, if n == creator { file.take() } else { None }))
        .collect();
    let mut idle = Vec::new();
    let mut failure = UploadError::NoSessions;
    while let Some((sftp, result)) = lanes.next().await {
        match result {
            Ok(()) => idle.push(sftp),
            Err(UploadError::Remote(error)) if error.is_connection() => {
                tracing::warn!(peer = sftp.peer(), %error, "a connection of an upload failed; the others continue");
                failure = error.into();
            }
            // The lane that created the file sends everything.
            Err(UploadError::Remote(error)) if may_be_denied && error.is_denied() => {
                tracing::debug!(peer = sftp.peer(), %error, "uploading over one connection less");
                failure = error.into();
            }
            Err(error) => return Err(error),
        }
        if job.missing_bytes() > 0 {
            lanes.extend(idle.drain(..).map(|sftp| run_lane(job, sftp, None)));
        }
    }
    if job.missing_bytes() > 0 { Err(failure) } else { Ok(()) }
}

async fn run_lane<'a, F: FnMut(&RangeSet) + Send>(
    job: &Job<'_, F>,
    sftp: &'a Sftp,
    created: Option<OpenFile>,
) -> (&'a Sftp, Result<(), UploadError>) {
    let mut unfinished = RangeSet::new();
    let result = send_parts(job, sftp, created, &mut unfinished).await;
    job.put_back(unfinished);
    (sftp, result)
}

/// Sends parts until none is left. `unfinished` always contains the parts that were taken and are not reported yet.
async fn send_parts<F: FnMut(&RangeSet) + Send>(
    job: &Job<'_, F>,
    sftp: &Sftp,
    created: Option<OpenFile>,
    unfinished: &mut RangeSet,
) -> Result<(), UploadError> {
    let mut part = job.take();
    // A part is added as soon as it is taken, so that any failure returns it to the queue.
    unfinished.extend(&part.iter().cloned().collect());
    if part.is_none() {
        return Ok(());
    }
    let local = File::open(job.local).await.map_err(|source| UploadError::local(job.local, source))?;
    let remote = match created {
        Some(file) => file,
        None => sftp.open_file(job.remote_part, "write", OpenFlags::WRITE, None).await?,
    };
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
            _ => UploadError::local(path, source),
        };
        let max_blocks = (MAX_IN_FLIGHT / self.remote.write_len()).max(1);
        self.local.seek(io::SeekFrom::Start(part.start)).await.map_err(failed)?;
        let mut offset = part.start;
        while offset < part.end {
            while self.in_flight.len() >= max_blocks {
                self.remote.acknowledged(&mut self.in_flight).await?;
            }
            let len = (part.end - offset).min(self.remote.write_len() as u64);
            self.remote.take_bandwidth(len).await;
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
            self.remote.acknowledged(&mut self.in_flight).await?;
        }
        Ok(())
    }
}
