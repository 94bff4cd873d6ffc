//! Files on a peer, over SFTP with many requests in flight and every wait and buffer bounded.

mod download;
mod error;
mod list;
mod manage;
mod open;
mod stat;
mod write;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use russh_sftp::client::error::Error as ProtocolError;
use russh_sftp::client::rawsession::Limits;
use russh_sftp::client::{Config, RawSftpSession};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use download::ChunkSink;
use error::Doing;
pub use error::SftpError;
pub use list::{DirEntry, Listing};
pub use manage::Space;
pub(crate) use open::OpenFile;
pub use stat::{FileKind, Stat};

use crate::session::{ChannelError, Link, request_accepted};

/// What every server takes in one request; those that tell their limits take more.
const SAFE_REQUEST: u32 = 32 * 1024;

/// The largest packet that is accepted, as in OpenSSH.
const MAX_PACKET: u32 = 256 * 1024;

/// A request must fit into a packet with its header.
const MAX_REQUEST: u32 = MAX_PACKET - 1024;

/// Open files per connection. russh-sftp reads a handle as text, which fails from OpenSSH's 129th on.
const MAX_HANDLES: usize = 64;

/// What one read asks for. Larger ones gain nothing on the wire, and cost: their buffers come from fresh pages each time.
const READ: u32 = 64 * 1024;

/// How much may be asked for ahead, over all downloads of one connection.
const READ_AHEAD: u32 = 24 * 1024 * 1024;

/// An SFTP channel. Clones share it; it keeps its session open.
#[derive(Clone)]
pub struct Sftp {
    channel: Arc<SftpChannel>,
}

pub(crate) struct SftpChannel {
    /// Shared only with opens that were given up: see [`open::Abandoned`].
    raw: Arc<RawSftpSession>,
    abandoned: open::Abandoned,
    link: Arc<Link>,
    extensions: HashMap<String, String>,
    read_len: u32,
    write_len: u32,
    handles: Arc<Semaphore>,
    read_ahead: Arc<Semaphore>,
}

impl Sftp {
    pub(crate) async fn open(link: Arc<Link>) -> Result<Self, SftpError> {
        let doing = Doing { action: "start", path: "sftp" };
        let mut channel = link.open_channel().await.map_err(|error| no_channel(&link, doing, error))?;
        let limit = link.timeouts.request;
        let accepted = timeout(limit, async {
            channel.request_subsystem(true, "sftp").await.ok()?;
            request_accepted(&mut channel).await
        });
        match accepted.await {
            Err(_) => return Err(timed_out(&link, doing, limit)),
            Ok(Some(true)) => {}
            Ok(Some(false)) => return Err(no_subsystem(&link, "the server refused it".into())),
            Ok(None) => return Err(no_subsystem(&link, link.end_reason())),
        }
        let config = Config {
            max_packet_len: MAX_PACKET,
            // Waits are bounded here, by the time without an answer, and not from the moment of queueing.
            request_timeout_secs: u64::from(u32::MAX),
            ..Config::default()
        };
        let mut raw = RawSftpSession::new_with_config(channel.into_stream(), config);
        let greeting = timeout(limit, greet(&mut raw)).await;
        let (extensions, limits) = greeting
            .map_err(|_| timed_out(&link, doing, limit))?
            .map_err(|error| no_subsystem(&link, format!("it did not speak SFTP ({error})")))?;
        let read_len = request_len(limits.read_len).min(READ);
        Ok(Self {
            channel: Arc::new(SftpChannel {
                raw: Arc::new(raw),
                abandoned: open::Abandoned::default(),
                extensions,
                read_len,
                write_len: request_len(limits.write_len),
                handles: Arc::new(Semaphore::new(MAX_HANDLES)),
                read_ahead: Arc::new(Semaphore::new((READ_AHEAD / read_len).max(1) as usize)),
                link,
            }),
        })
    }

    /// The extensions that the server announced, with their versions.
    pub fn extensions(&self) -> &HashMap<String, String> {
        &self.channel.extensions
    }

    /// Whether the server can fsync a file: what it acknowledged may still be lost in a power cut otherwise.
    pub fn can_fsync(&self) -> bool {
        self.channel.has("fsync@openssh.com")
    }

    /// Who is at the other end, as errors name it.
    pub fn peer(&self) -> &str {
        &self.channel.link.peer
    }
}

impl SftpChannel {
    fn has(&self, extension: &str) -> bool {
        self.extensions.contains_key(extension)
    }

    /// Waits for one answer.
    async fn ask<T>(
        &self,
        doing: Doing<'_>,
        answer: impl Future<Output = Result<T, ProtocolError>>,
    ) -> Result<T, SftpError> {
        // russh-sftp takes requests for a dead connection as well, and would leave each to its timeout.
        if self.link.is_closed() {
            return Err(doing.disconnected(&self.link.peer, self.link.end_reason()));
        }
        let limit = self.link.timeouts.request;
        match timeout(limit, answer).await {
            Err(_) => Err(timed_out(&self.link, doing, limit)),
            Ok(answered) => answered.map_err(|error| self.failed(doing, error)),
        }
    }

    fn failed(&self, doing: Doing<'_>, error: ProtocolError) -> SftpError {
        doing.failed(&self.link.peer, error, || self.link.end_reason())
    }

    fn timed_out(&self, doing: Doing<'_>) -> SftpError {
        timed_out(&self.link, doing, self.link.timeouts.request)
    }
}

/// The version exchange, and the server's limits where it tells them.
async fn greet(raw: &mut RawSftpSession) -> Result<(HashMap<String, String>, Limits), ProtocolError> {
    let extensions = raw.init().await?.extensions;
    let limits = if extensions.contains_key("limits@openssh.com") {
        Limits::from(raw.limits().await?)
    } else {
        Limits::default()
    };
    Ok((extensions, limits))
}

fn request_len(limit: Option<u64>) -> u32 {
    match limit {
        Some(limit) => u32::try_from(limit).unwrap_or(MAX_REQUEST).clamp(1, MAX_REQUEST),
        None => SAFE_REQUEST,
    }
}

fn no_channel(link: &Link, doing: Doing<'_>, error: ChannelError) -> SftpError {
    match error {
        ChannelError::Timeout(limit) => timed_out(link, doing, limit),
        ChannelError::Refused(reason) => no_subsystem(link, reason),
        ChannelError::Disconnected(reason) => doing.disconnected(&link.peer, reason),
    }
}

fn no_subsystem(link: &Link, reason: String) -> SftpError {
    SftpError::NoSubsystem { peer: link.peer.clone(), reason }
}

fn timed_out(link: &Link, doing: Doing<'_>, limit: Duration) -> SftpError {
    SftpError::Timeout {
        peer: link.peer.clone(),
        path: doing.path.to_owned(),
        action: doing.action,
        seconds: limit.as_secs(),
    }
}
