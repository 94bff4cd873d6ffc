//! Streams a snapshot from the local member to a compressed file. It is checked while it streams, and never stored uncompressed.

use std::io;
use std::time::Duration;

use nightshift_core::digest::Written;
use nightshift_core::etcd_facts::MemberId;
use nightshift_core::settings::Compression;
use nightshift_snapshot::Report;
use nightshift_store::SetFile;
use nightshift_store::offload::offload;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::client::Client;
use crate::error::ClientError;
use crate::stream::{Piece, Stored, store};

/// The number of blobs of 32 KiB that may wait for the compressor.
const MAX_BLOBS_AHEAD: usize = 64;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The stream is aborted if it delivers nothing for this long.
    pub stall: Duration,
    /// From the first request to the last fsync.
    pub deadline: Duration,
}

/// A snapshot on disk. `report` says whether it is sound: a damaged one is kept as evidence.
#[derive(Debug)]
pub struct Taken {
    pub report: Report,
    /// The compressed file.
    pub stored: Written,
    pub header: Header,
}

/// The member's status just before the stream was opened: everything up to `revision` is in the snapshot, and later writes may
/// be. The stream itself has no header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// In hexadecimal, as etcdctl prints it.
    pub cluster_id: String,
    pub member_id: MemberId,
    pub revision: i64,
    pub raft_term: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the member did not send a snapshot")]
    Client(#[from] ClientError),
    #[error("{endpoint} sent nothing for {} s, after {received} bytes of the snapshot", .after.as_secs())]
    Stalled { endpoint: String, after: Duration, received: u64 },
    #[error("the snapshot from {endpoint} did not finish within {} s; {received} bytes were received", .after.as_secs())]
    TooLong { endpoint: String, after: Duration, received: u64 },
    #[error("{endpoint} ended the snapshot after {received} bytes; {missing} bytes are missing")]
    CutShort { endpoint: String, received: u64, missing: u64 },
    #[error("cannot write the snapshot to disk")]
    Write(#[source] io::Error),
    #[error("the thread that compresses the snapshot crashed")]
    Crashed(#[source] tokio::task::JoinError),
}

/// Takes a snapshot into `file`, which must be new and empty. The file is synced when this returns. If the future is dropped,
/// writing ends within one block, and the file contains a part.
pub async fn take(
    client: &Client,
    file: impl Into<SetFile>,
    compression: Compression,
    limits: Limits,
) -> Result<Taken, SnapshotError> {
    let mut stream = Stream { client, limits, until: Instant::now() + limits.deadline, received: 0 };
    let header = stream.client.status().await?.header.unwrap_or_default();
    let (pieces, queue) = mpsc::channel(MAX_BLOBS_AHEAD);
    let file = file.into();
    let storing = offload(move || store(queue, file, compression));
    stream.run(pieces).await?;
    let stored = timeout_at(stream.until, storing).await.map_err(|_| stream.too_long())?;
    let Stored { report, written } = stored.map_err(SnapshotError::Crashed)?.map_err(SnapshotError::Write)?;
    Ok(Taken {
        report,
        stored: written,
        header: Header {
            cluster_id: header.cluster_id(),
            member_id: header.member_id(),
            revision: header.revision,
            raft_term: header.raft_term,
        },
    })
}

struct Stream<'a> {
    client: &'a Client,
    limits: Limits,
    until: Instant,
    received: u64,
}

impl Stream<'_> {
    /// Reads the stream to its end, or until the thread that stores it ends early: that has the reason.
    async fn run(&mut self, pieces: mpsc::Sender<Piece>) -> Result<(), SnapshotError> {
        let mut stream = self.client.snapshot().await?;
        let mut missing = 0;
        // Waiting for a slow disk is not a stall of the stream: the clock starts when the wait for the stream starts. An empty
        // blob does not reset it: etcd sends those forever after a failed read (docs/facts/etcd.md#the-snapshot-stream).
        let mut waiting_since = Instant::now();
        loop {
            let stalled_at = waiting_since + self.limits.stall;
            let message = match timeout_at(stalled_at.min(self.until), stream.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => break,
                Ok(Err(status)) => return Err(self.client.failed("Snapshot", status).into()),
                Err(_) if stalled_at < self.until => return Err(self.stalled()),
                Err(_) => return Err(self.too_long()),
            };
            if message.blob.is_empty() {
                continue;
            }
            self.received += message.blob.len() as u64;
            missing = message.remaining_bytes;
            if !self.pass_on(&pieces, Piece::Blob(message.blob)).await? {
                return Ok(());
            }
            waiting_since = Instant::now();
        }
        if missing > 0 {
            let endpoint = self.client.endpoint().to_owned();
            return Err(SnapshotError::CutShort { endpoint, received: self.received, missing });
        }
        self.pass_on(&pieces, Piece::End).await.map(drop)
    }

    /// False if the thread that stores the pieces has ended.
    async fn pass_on(&self, pieces: &mpsc::Sender<Piece>, piece: Piece) -> Result<bool, SnapshotError> {
        let sent = timeout_at(self.until, pieces.send(piece)).await;
        sent.map(|sent| sent.is_ok()).map_err(|_| self.too_long())
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
