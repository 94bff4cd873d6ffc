//! The daemon's side: asks the helper, and stores what it sends, compressed as a snapshot is.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use nightshift_core::digest::{Digest, HashedWriter, Hasher, Written};
use nightshift_core::settings::Compression;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::frame::{Frame, Request, Said, encode_request, read_frame};
use nightshift_etcd::compress;
use nightshift_store::offload;
use nightshift_store::pieces::Pieces;
use nightshift_store::sync_file;

/// The longest silence of the helper's: it waits for a member to stop, and to be healthy again.
const SILENCE: Duration = Duration::from_secs(240);
/// Pieces that wait for the compressor.
const AHEAD: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("the cold copy is not enabled on this host: {} is not there", .socket.display())]
    NotEnabled { socket: PathBuf },
    #[error("{} cannot be asked for a cold copy", .socket.display())]
    Unreachable { socket: PathBuf, source: io::Error },
    #[error("another cold copy is being taken: {0}")]
    Busy(String),
    #[error("the cold copy is refused: {0}")]
    Refused(String),
    #[error("the cold copy failed: {0}")]
    Failed(String),
    #[error("the cold copy's helper said nothing for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the cold copy's helper hung up: see `journalctl -t nightshift` on this host")]
    HungUp,
    #[error("the connection to the cold copy's helper broke off")]
    BrokenOff(#[source] io::Error),
    #[error("the cold copy cannot be stored")]
    Store(#[source] io::Error),
    #[error("what was stored of the cold copy is not what was sent")]
    Differs,
    #[error("the cold copy's helper spoke out of turn")]
    OutOfTurn,
}

#[derive(Debug)]
pub enum Asked {
    /// This other member is tonight's.
    NotMyTurn {
        member: String,
    },
    Copied(Copied),
}

/// A cold copy on disk, fsynced, its member seen healthy again.
#[derive(Debug)]
pub struct Copied {
    pub stored_size: u64,
    pub stored_sha256: Digest,
    /// Of the tar before compression.
    pub raw_size: u64,
    pub raw_sha256: Digest,
    pub stopped_ms: u64,
}

/// Asks for tonight's cold copy, and stores it in the file that `create` makes once there is something to store.
pub async fn ask<E: From<AskError>>(
    socket: &Path,
    request: &Request,
    compression: Compression,
    create: impl FnOnce() -> Result<File, E>,
) -> Result<Asked, E> {
    let mut line = connect(socket).await?;
    line.write_all(&encode_request(request).map_err(AskError::BrokenOff)?)
        .await
        .map_err(AskError::BrokenOff)?;
    match words(&mut line).await? {
        Said::NotMyTurn { member } => return Ok(Asked::NotMyTurn { member }),
        Said::Stopped { .. } => {}
        other => return Err(problem(other).into()),
    }
    let copied = store(&mut line, create()?, compression).await?;
    match words(&mut line).await? {
        Said::Done { stopped_ms } => Ok(Asked::Copied(Copied { stopped_ms, ..copied })),
        other => Err(problem(other).into()),
    }
}

async fn connect(socket: &Path) -> Result<UnixStream, AskError> {
    UnixStream::connect(socket).await.map_err(|source| {
        let socket = socket.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotEnabled { socket },
            _ => AskError::Unreachable { socket, source },
        }
    })
}

async fn next(line: &mut UnixStream) -> Result<Frame, AskError> {
    match timeout(SILENCE, read_frame(line)).await {
        Ok(Ok(Some(frame))) => Ok(frame),
        Ok(Ok(None)) => Err(AskError::HungUp),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(AskError::HungUp),
        Ok(Err(error)) => Err(AskError::BrokenOff(error)),
        Err(_) => Err(AskError::Silent),
    }
}

async fn words(line: &mut UnixStream) -> Result<Said, AskError> {
    match next(line).await? {
        Frame::Said(said) => Ok(said),
        Frame::Data(_) => Err(AskError::OutOfTurn),
    }
}

fn problem(said: Said) -> AskError {
    match said {
        Said::Busy { reason } => AskError::Busy(reason),
        Said::Refused { reason } => AskError::Refused(reason),
        Said::Failed { reason } => AskError::Failed(reason),
        Said::NotMyTurn { .. } | Said::Stopped { .. } | Said::Copied { .. } | Said::Done { .. } => {
            AskError::OutOfTurn
        }
    }
}

/// Stores the data that follows, up to the word that it was all.
async fn store(line: &mut UnixStream, file: File, compression: Compression) -> Result<Copied, AskError> {
    let (pieces, queue) = mpsc::channel(AHEAD);
    let storing = offload::offload(move || {
        let mut output = HashedWriter::new(file);
        compress(&mut Pieces::new(queue), &mut output, compression)?;
        let (file, written) = output.finish();
        sync_file(&file)?;
        Ok(written)
    });
    let received = receive(line, &pieces).await;
    drop(pieces);
    let stored: io::Result<Written> =
        storing.await.map_err(|error| AskError::Store(io::Error::other(error)))?;
    // A full disk is why nobody took the pieces any more.
    let Written { size: stored_size, sha256: stored_sha256 } = stored.map_err(AskError::Store)?;
    let (raw_size, raw_sha256) = received?;
    Ok(Copied { stored_size, stored_sha256, raw_size, raw_sha256, stopped_ms: 0 })
}

async fn receive(line: &mut UnixStream, pieces: &mpsc::Sender<Bytes>) -> Result<(u64, Digest), AskError> {
    let mut hasher = Hasher::default();
    let mut size = 0;
    loop {
        match next(line).await? {
            Frame::Data(data) => {
                hasher.update(&data);
                size += data.len() as u64;
                let gone = || AskError::Store(io::ErrorKind::BrokenPipe.into());
                pieces.send(data.into()).await.map_err(|_| gone())?;
            }
            Frame::Said(Said::Copied { bytes, sha256 }) => {
                let received = hasher.finish();
                let same = (bytes, sha256) == (size, received);
                return if same { Ok((size, received)) } else { Err(AskError::Differs) };
            }
            Frame::Said(other) => return Err(problem(other)),
        }
    }
}
