//! Uploads one large file over several parallel connections, each with its own parts of the file. An upload is resumed with
//! the list of parts that are known to be on the server's disk.
//!
//! The server's window limits one connection to 2 MiB in flight; several connections can have more.

mod error;
mod lanes;

use std::path::Path;
use std::time::{Duration, Instant};

use nightshift_core::range_set::RangeSet;
use russh_sftp::protocol::OpenFlags;

pub use error::UploadError;
use lanes::{Job, run_lanes};

use crate::sftp::{OpenFile, Sftp, SftpError};

/// The maximum number of connections of one upload.
pub const MAX_CONNECTIONS: usize = 4;

/// One connection is used per this much round trip: with a window of 2 MiB, it sends 1 GB/s at 2 ms, faster than a disk writes.
const ROUND_TRIP_PER_CONNECTION: Duration = Duration::from_millis(2);

/// How many names are tried for a part that cannot be written again.
const MAX_NAMES: usize = 9;

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
    /// Where it is: `remote_part`, or that name with a number if the server does not let an existing file be written again.
    pub part: String,
    pub size: u64,
    /// Bytes that were sent in this attempt.
    pub sent: u64,
    /// False if the server has no fsync: then a power cut may lose acknowledged data.
    pub synced: bool,
}

impl Upload<'_> {
    /// Sends the missing parts. `on_progress` gets all parts that are acknowledged and, if the server supports it, synced; the
    /// caller stores them for a resume. If a connection fails, the others send its parts.
    ///
    /// Some servers accept the bytes of a file only in order, or through the handle that created it. If a write in another order
    /// fails, the file is sent once more, whole, over one connection.
    pub async fn run(
        self,
        sessions: &[Sftp],
        mut on_progress: impl FnMut(&RangeSet) + Send,
    ) -> Result<Uploaded, UploadError> {
        let out_of_order = sessions.len() > 1 || !self.done.is_empty();
        match self.attempt(sessions, self.done.clone(), &mut on_progress).await {
            Err(UploadError::Remote(error)) if out_of_order && error.is_refused_write() => {
                tracing::warn!(
                    peer = sessions.first().map(Sftp::peer),
                    %error,
                    "the server refused a write; the file is sent again in order over one connection (if this repeats, set `connections = 1` for this remote)"
                );
                self.attempt(&sessions[..1], RangeSet::new(), &mut on_progress).await
            }
            result => result,
        }
    }

    async fn attempt(
        &self,
        sessions: &[Sftp],
        done: RangeSet,
        on_progress: impl FnMut(&RangeSet) + Send,
    ) -> Result<Uploaded, UploadError> {
        let size = self.local_size().await?;
        let Part { path, created, done } = self.prepare(sessions, size, done).await?;
        let job = Job::new(self.local, &path, size, done, on_progress);
        let sent = job.missing_bytes();
        run_lanes(&job, sessions, created).await?;
        drop(job);
        check_size(sessions, &path, size).await?;
        Ok(Uploaded { part: path, size, sent, synced: sessions.iter().all(Sftp::can_fsync) })
    }

    async fn local_size(&self) -> Result<u64, UploadError> {
        let metadata = tokio::fs::metadata(self.local).await;
        metadata.map(|file| file.len()).map_err(|source| UploadError::local(self.local, source))
    }

    /// Finds the part of an earlier attempt, or creates a new one, over the first connection that works.
    async fn prepare(&self, sessions: &[Sftp], size: u64, done: RangeSet) -> Result<Part, UploadError> {
        let mut failure = UploadError::NoSessions;
        for (lane, sftp) in sessions.iter().enumerate() {
            match self.prepare_over(sftp, lane, size, &done).await {
                Err(error) if error.is_connection() => failure = error.into(),
                other => return Ok(other?),
            }
        }
        Err(failure)
    }

    async fn prepare_over(
        &self,
        sftp: &Sftp,
        lane: usize,
        size: u64,
        done: &RangeSet,
    ) -> Result<Part, SftpError> {
        if !done.is_empty() && done.end() <= size {
            match sftp.size(self.remote_part).await {
                Ok(there) if (done.end()..=size).contains(&there) => {
                    return Ok(Part { path: self.remote_part.to_owned(), created: None, done: done.clone() });
                }
                Ok(_) => {}
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error),
            }
        }
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let mut names = (2..=MAX_NAMES).map(|n| format!("{}.{n}", self.remote_part));
        // A login that may only add files cannot write one again that an earlier attempt created.
        let mut path = self.remote_part.to_owned();
        loop {
            let error = match sftp.open_file(&path, "create", flags, Some(self.mode)).await {
                Ok(file) => return Ok(Part { path, created: Some((lane, file)), done: RangeSet::new() }),
                Err(error) => error,
            };
            let exists = error.is_denied() && sftp.size(&path).await.is_ok();
            path = match names.next() {
                Some(next) if exists => next,
                _ => return Err(error),
            };
        }
    }
}

/// The file that an upload writes to.
struct Part {
    path: String,
    /// The connection that created it, and its handle: some servers let a file be written only through that one.
    created: Option<(usize, OpenFile)>,
    done: RangeSet,
}

/// Compares the size of an uploaded file. Some logins may not see it; the content is verified next.
async fn check_size(sessions: &[Sftp], part: &str, expected: u64) -> Result<(), UploadError> {
    let mut failure = UploadError::NoSessions;
    for sftp in sessions {
        match sftp.size(part).await {
            Ok(found) if found == expected => return Ok(()),
            Err(error) if error.is_denied() => return Ok(()),
            Ok(found) => {
                return Err(UploadError::WrongSize {
                    peer: sftp.peer().to_owned(),
                    path: part.to_owned(),
                    found,
                    expected,
                });
            }
            Err(error) if error.is_connection() => failure = error.into(),
            Err(error) => return Err(error.into()),
        }
    }
    Err(failure)
}

/// How many connections are useful for a server: one, and one more per 2 ms of round trip, because the window limits each.
/// The round trip is measured with one request for `directory`.
pub async fn useful_connections(sftp: &Sftp, directory: &str) -> usize {
    let requested = Instant::now();
    match sftp.lstat(directory).await {
        // The round trip is unknown. The upload will report the error.
        Err(error) if error.is_connection() => MAX_CONNECTIONS,
        _ => {
            let more = requested.elapsed().as_micros() / ROUND_TRIP_PER_CONNECTION.as_micros();
            1 + usize::try_from(more).unwrap_or(MAX_CONNECTIONS).min(MAX_CONNECTIONS - 1)
        }
    }
}
