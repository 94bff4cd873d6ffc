//! The daemon's side: requests a cold copy from the helper, and stores it, compressed like a snapshot.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use nightshift_core::digest::{HashedWriter, Written};
use nightshift_core::settings::Compression;
use nightshift_etcd::stream::compress;
use nightshift_store::pieces::Pieces;
use nightshift_store::{SetFile, offload, sync_file};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::frame::{Frame, HelperReply, Request, encode_request, read_frame};

/// The longest time without a message: the helper waits for the member to stop, and to become healthy again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(240);
/// The number of pieces that wait for the compressor.
const MAX_PIECES_AHEAD: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("cold copies are not enabled on this host: {} does not exist", .socket.display())]
    NotEnabled { socket: PathBuf },
    #[error("cannot connect to {}", .socket.display())]
    Connect { socket: PathBuf, source: io::Error },
    #[error("another cold copy is running: {0}")]
    Busy(String),
    #[error("the cold copy was refused: {0}")]
    Refused(String),
    #[error("the cold copy failed: {0}")]
    Failed(String),
    #[error("the cold-copy helper sent nothing for {} s", IDLE_TIMEOUT.as_secs())]
    TimedOut,
    #[error("the cold-copy helper closed the connection; see `journalctl -t nightshift` on this host")]
    Closed,
    #[error("the connection to the cold-copy helper failed")]
    Connection(#[source] io::Error),
    #[error("cannot store the cold copy")]
    Store(#[source] io::Error),
    #[error("the cold copy was changed on its way: its size or SHA-256 is not what the helper sent")]
    Differs,
    #[error("unexpected message from the cold-copy helper; was nightshift upgraded while it ran?")]
    Unexpected,
}

#[derive(Debug)]
pub enum ColdCopyOutcome {
    /// Tonight it is the turn of this other member.
    NotMyTurn {
        member: String,
    },
    Copied(Copied),
}

/// A cold copy on disk, synced, of a member that is healthy again.
#[derive(Debug)]
pub struct Copied {
    /// The compressed file.
    pub stored: Written,
    /// The tar before compression.
    pub raw: Written,
    pub stopped_ms: u64,
}

/// Requests tonight's cold copy, and stores it in the file that `create` makes as soon as there is something to store.
pub async fn request<E: From<RequestError>>(
    socket: &Path,
    request: &Request,
    compression: Compression,
    create: impl FnOnce() -> Result<SetFile, E>,
) -> Result<ColdCopyOutcome, E> {
    let mut helper = connect(socket).await?;
    let line = encode_request(request).map_err(RequestError::Connection)?;
    helper.write_all(&line).await.map_err(RequestError::Connection)?;
    match reply(&mut helper).await? {
        HelperReply::NotMyTurn { member } => return Ok(ColdCopyOutcome::NotMyTurn { member }),
        HelperReply::Stopped { .. } => {}
        other => return Err(failure(other).into()),
    }
    let (stored, raw) = store(&mut helper, create()?, compression).await?;
    match reply(&mut helper).await? {
        HelperReply::Done { stopped_ms } => Ok(ColdCopyOutcome::Copied(Copied { stored, raw, stopped_ms })),
        other => Err(failure(other).into()),
    }
}

async fn connect(socket: &Path) -> Result<UnixStream, RequestError> {
    UnixStream::connect(socket).await.map_err(|source| {
        let socket = socket.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => RequestError::NotEnabled { socket },
            _ => RequestError::Connect { socket, source },
        }
    })
}

async fn next(helper: &mut UnixStream) -> Result<Frame, RequestError> {
    match timeout(IDLE_TIMEOUT, read_frame(helper)).await {
        Ok(Ok(Some(frame))) => Ok(frame),
        Ok(Ok(None)) => Err(RequestError::Closed),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(RequestError::Closed),
        Ok(Err(error)) => Err(RequestError::Connection(error)),
        Err(_) => Err(RequestError::TimedOut),
    }
}

async fn reply(helper: &mut UnixStream) -> Result<HelperReply, RequestError> {
    match next(helper).await? {
        Frame::Reply(reply) => Ok(reply),
        Frame::Data(_) => Err(RequestError::Unexpected),
    }
}

fn failure(reply: HelperReply) -> RequestError {
    match reply {
        HelperReply::Busy { reason } => RequestError::Busy(reason),
        HelperReply::Refused { reason } => RequestError::Refused(reason),
        HelperReply::Failed { reason } => RequestError::Failed(reason),
        HelperReply::NotMyTurn { .. }
        | HelperReply::Stopped { .. }
        | HelperReply::Copied { .. }
        | HelperReply::Done { .. } => RequestError::Unexpected,
    }
}

/// Stores the data up to its end: the compressed file, and the data as received.
async fn store(
    helper: &mut UnixStream,
    file: SetFile,
    compression: Compression,
) -> Result<(Written, Written), RequestError> {
    let (pieces, queue) = mpsc::channel(MAX_PIECES_AHEAD);
    let storing = offload::offload(move || {
        let mut output = HashedWriter::new(file);
        compress(&mut Pieces::new(queue), &mut output, compression)?;
        let (file, written) = output.finish();
        sync_file(file.as_ref())?;
        Ok(written)
    });
    let received = receive(helper, &pieces).await;
    drop(pieces);
    let stored: io::Result<Written> =
        storing.await.map_err(|error| RequestError::Store(io::Error::other(error)))?;
    // First, because a full disk is also why `receive` fails.
    let stored = stored.map_err(RequestError::Store)?;
    Ok((stored, received?))
}

async fn receive(helper: &mut UnixStream, pieces: &mpsc::Sender<Bytes>) -> Result<Written, RequestError> {
    let mut hashed = HashedWriter::new(io::sink());
    loop {
        match next(helper).await? {
            Frame::Data(data) => {
                hashed.write_all(&data).map_err(RequestError::Store)?;
                let gone = || RequestError::Store(io::ErrorKind::BrokenPipe.into());
                pieces.send(data.into()).await.map_err(|_| gone())?;
            }
            Frame::Reply(HelperReply::Copied { bytes, sha256 }) => {
                let (_, received) = hashed.finish();
                let same = (bytes, sha256) == (received.size, received.sha256);
                return if same { Ok(received) } else { Err(RequestError::Differs) };
            }
            Frame::Reply(other) => return Err(failure(other)),
        }
    }
}
