//! Streams a snapshot from the local member to a compressed file: checked at birth, never uncompressed on disk.

use std::fs::File;
use std::io;
use std::time::Duration;

use nightshift_core::digest::Digest;
use nightshift_core::settings::Compression;
use nightshift_snapshot::Report;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::client::Client;
use crate::health::hex;
use crate::stream::{Piece, Stored, store};
use crate::trouble::ClientError;
use nightshift_store::offload::offload;

/// How many blobs of 32 KiB may wait for the compressor.
const WAITING: usize = 64;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The stream is given up when it delivers nothing for so long.
    pub stall: Duration,
    /// From the first call to the last fsync.
    pub deadline: Duration,
}

/// A snapshot on disk. Whether it is sound is `birth`'s to say: what was damaged on its way is kept as evidence.
#[derive(Debug)]
pub struct Taken {
    pub birth: Report,
    /// As compressed.
    pub stored_size: u64,
    pub stored_sha256: Digest,
    pub header: Header,
}

/// The member's words just before the stream was opened: everything up to `revision` is in the snapshot, and what
/// was written in between may be (the stream itself carries no header).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Hexadecimal, as etcdctl prints them.
    pub cluster_id: String,
    pub member_id: String,
    pub revision: i64,
    pub raft_term: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the member handed out no snapshot")]
    Client(#[from] ClientError),
    #[error("{endpoint} sent nothing for {} s, after {received} bytes of the snapshot", .after.as_secs())]
    Stalled { endpoint: String, after: Duration, received: u64 },
    #[error("the snapshot from {endpoint} was not done within {} s; {received} bytes had come", .after.as_secs())]
    TooLong { endpoint: String, after: Duration, received: u64 },
    #[error("{endpoint} ended the snapshot after {received} bytes, {missing} too early")]
    CutShort { endpoint: String, received: u64, missing: u64 },
    #[error("writing the snapshot to disk failed")]
    Write(#[source] io::Error),
    #[error("the thread that compresses the snapshot broke down")]
    Broken(#[source] tokio::task::JoinError),
}

/// Takes a snapshot into `file`, which is fresh and nobody else's; it is fsynced when this returns.
///
/// `on_progress` gets the bytes received and how many are still to come. Dropping the future ends everything
/// within one block; the file then holds a part.
pub async fn take(
    client: &Client,
    file: File,
    compression: Compression,
    limits: Limits,
    on_progress: impl FnMut(u64, u64) + Send,
) -> Result<Taken, SnapshotError> {
    let mut stream =
        Stream { client, limits, until: Instant::now() + limits.deadline, received: 0, on_progress };
    let header = stream.client.status().await?.header.unwrap_or_default();
    let (pieces, queue) = mpsc::channel(WAITING);
    let storing = offload(move || store(queue, file, compression));
    let streamed = stream.run(pieces).await;
    if let Err(Ended::Trouble(error)) = streamed {
        return Err(error);
    }
    let stored = timeout_at(stream.until, storing).await.map_err(|_| stream.too_long())?;
    let Stored { birth, written } = stored.map_err(SnapshotError::Broken)?.map_err(SnapshotError::Write)?;
    Ok(Taken {
        birth,
        stored_size: written.size,
        stored_sha256: written.sha256,
        header: Header {
            cluster_id: hex(header.cluster_id),
            member_id: hex(header.member_id),
            revision: header.revision,
            raft_term: header.raft_term,
        },
    })
}

struct Stream<'a, P> {
    client: &'a Client,
    limits: Limits,
    until: Instant,
    received: u64,
    on_progress: P,
}

/// Why the stream was not read to its end.
enum Ended {
    Trouble(SnapshotError),
    /// The storing side hung up: it has the reason.
    NotStored,
}

impl<P: FnMut(u64, u64)> Stream<'_, P> {
    async fn run(&mut self, pieces: mpsc::Sender<Piece>) -> Result<(), Ended> {
        let mut stream = self.client.snapshot().await.map_err(|error| Ended::Trouble(error.into()))?;
        let mut missing = 0;
        // Waiting for a slow disk is no stall of the stream: the clock starts when we begin to wait for it, and
        // an empty blob does not set it back (etcd sends those for ever when its own read fails).
        let mut waiting_since = Instant::now();
        loop {
            let stalled_at = waiting_since + self.limits.stall;
            let message = match timeout_at(stalled_at.min(self.until), stream.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => break,
                Ok(Err(status)) => return Err(Ended::Trouble(self.client.failed("Snapshot", status).into())),
                Err(_) if stalled_at < self.until => return Err(Ended::Trouble(self.stalled())),
                Err(_) => return Err(Ended::Trouble(self.too_long())),
            };
            if message.blob.is_empty() {
                continue;
            }
            self.received += message.blob.len() as u64;
            missing = message.remaining_bytes;
            (self.on_progress)(self.received, missing);
            self.hand_over(&pieces, Piece::Blob(message.blob)).await?;
            waiting_since = Instant::now();
        }
        if missing > 0 {
            let endpoint = self.client.endpoint().to_owned();
            return Err(Ended::Trouble(SnapshotError::CutShort {
                endpoint,
                received: self.received,
                missing,
            }));
        }
        self.hand_over(&pieces, Piece::End).await
    }

    async fn hand_over(&self, pieces: &mpsc::Sender<Piece>, piece: Piece) -> Result<(), Ended> {
        match timeout_at(self.until, pieces.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::NotStored),
            Err(_) => Err(Ended::Trouble(self.too_long())),
        }
    }

    fn stalled(&self) -> SnapshotError {
        let endpoint = self.client.endpoint().to_owned();
        SnapshotError::Stalled { endpoint, after: self.limits.stall, received: self.received }
    }

    fn too_long(&self) -> SnapshotError {
        let endpoint = self.client.endpoint().to_owned();
        SnapshotError::TooLong { endpoint, after: self.limits.deadline, received: self.received }
    }
}
