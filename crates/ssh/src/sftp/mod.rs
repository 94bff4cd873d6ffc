//! SFTP with many requests in flight; every wait and buffer is bounded.

mod download;
mod error;
mod list;
mod manage;
mod open;
mod opening;
mod pace;
mod responses;
mod stat;
mod write;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh_sftp::client::error::Error as ProtocolError;
use russh_sftp::client::rawsession::Limits;
use russh_sftp::client::{Config, RawSftpSession};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use download::ChunkSink;
use error::Operation;
pub use error::SftpError;
pub use list::{DirEntry, Listing};
pub use manage::Space;
pub(crate) use open::OpenFile;
use pace::Pace;
use responses::{MAX_PACKET, Responses};
pub use stat::{FileKind, Stat};

use crate::bandwidth::{Bandwidth, Share};
use crate::session::{ChannelError, Link, request_accepted};

const FSYNC: &str = "fsync@openssh.com";
const POSIX_RENAME: &str = "posix-rename@openssh.com";
const STATVFS: &str = "statvfs@openssh.com";

/// The payload of a request, in bytes, that every server should accept (draft-ietf-secsh-filexfer-02, §3). Servers with
/// `limits@openssh.com` accept more.
const SAFE_REQUEST: u32 = 32 * 1024;

/// The maximum payload: a request and its header must fit into a packet.
const MAX_REQUEST: u32 = MAX_PACKET - 1024;

/// The maximum number of open files per connection. russh-sftp reads a handle as text; OpenSSH's handles from the 129th on
/// are not valid UTF-8.
const MAX_HANDLES: usize = 64;

/// Bytes per read request. Larger requests are not faster, and their buffers need newly mapped pages each time.
const MAX_READ: u32 = 64 * 1024;

/// The maximum read-ahead in bytes, for all downloads of one connection together.
const READ_AHEAD: u32 = 24 * 1024 * 1024;

/// An SFTP channel. Clones share it; it keeps its session open.
#[derive(Clone)]
pub struct Sftp {
    channel: Arc<SftpChannel>,
}

pub(crate) struct SftpChannel {
    /// Shared only with abandoned opens: see [`opening::Abandoned`].
    raw: Arc<RawSftpSession>,
    abandoned: opening::Abandoned,
    link: Arc<Link>,
    extensions: HashMap<String, String>,
    /// An extension was announced and then refused; see [`SftpChannel::has`].
    refused: Mutex<HashSet<&'static str>>,
    read_len: u32,
    write_len: u32,
    handles: Arc<Semaphore>,
    read_ahead: Arc<Semaphore>,
    pub share: Share,
}

impl Sftp {
    pub(crate) async fn open(link: Arc<Link>, bandwidth: Bandwidth) -> Result<Self, SftpError> {
        let operation = Operation { action: "start", path: "sftp" };
        let mut channel = link.open_channel().await.map_err(|error| no_channel(&link, operation, error))?;
        let limit = link.timeouts.request;
        let accepted = timeout(limit, async {
            channel.request_subsystem(true, "sftp").await.ok()?;
            request_accepted(&mut channel).await
        });
        match accepted.await {
            Err(_) => return Err(timed_out(&link, operation, limit)),
            Ok(Some(true)) => {}
            Ok(Some(false)) => return Err(no_subsystem(&link, "the server refused the subsystem".into())),
            Ok(None) => return Err(no_subsystem(&link, link.end_reason())),
        }
        let config = Config {
            max_packet_len: MAX_PACKET,
            // This crate has its own timeouts, for the time without progress. russh-sftp's starts when a request is queued.
            request_timeout_secs: u64::from(u32::MAX),
            ..Config::default()
        };
        let (reader, writer) = tokio::io::split(channel.into_stream());
        let (responses, not_sftp) = Responses::new(reader);
        let mut raw = RawSftpSession::new_with_config(tokio::io::join(responses, writer), config);
        let initialised = timeout(limit, initialise(&mut raw)).await;
        let (extensions, limits) = initialised
            .map_err(|_| timed_out(&link, operation, limit))
            .and_then(|result| {
                result.map_err(|error| no_subsystem(&link, format!("the response is not SFTP ({error})")))
            })
            .map_err(|error| match not_sftp.text() {
                text if text.is_empty() => error,
                text => no_subsystem(&link, format!("the server sent \"{text}\" instead of SFTP")),
            })?;
        let read_len = request_len(limits.read_len).min(MAX_READ);
        Ok(Self {
            channel: Arc::new(SftpChannel {
                raw: Arc::new(raw),
                abandoned: opening::Abandoned::default(),
                extensions,
                refused: Mutex::default(),
                read_len,
                write_len: request_len(limits.write_len),
                handles: Arc::new(Semaphore::new(MAX_HANDLES)),
                read_ahead: Arc::new(Semaphore::new((READ_AHEAD / read_len).max(1) as usize)),
                share: Share::of(bandwidth),
                link,
            }),
        })
    }

    /// The extensions that the server announced, with their versions.
    pub fn extensions(&self) -> &HashMap<String, String> {
        &self.channel.extensions
    }

    /// Whether the server can fsync a file. Otherwise acknowledged data may still be lost in a power cut.
    pub fn can_fsync(&self) -> bool {
        self.channel.has(FSYNC)
    }

    /// Waits until so many bytes may be transferred within the limit of the bandwidth. Transfers of large files do that themselves;
    /// it is for small ones.
    pub async fn take_bandwidth(&self, bytes: u64) {
        self.channel.share.take(bytes).await;
    }

    /// For how long transfers of this connection waited because of the limit of the bandwidth.
    pub fn waited(&self) -> Duration {
        self.channel.share.waited()
    }

    /// The peer's name in error messages.
    pub fn peer(&self) -> &str {
        &self.channel.link.peer
    }
}

impl SftpChannel {
    /// Whether the server announced an extension, and has not refused it since: some servers announce what they cannot do.
    fn has(&self, extension: &str) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        self.extensions.contains_key(extension) && !refused.contains(extension)
    }

    /// Remembers that the server refused an extension that it announced.
    fn refuse(&self, extension: &'static str) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(extension);
    }

    /// Waits for the response to one request.
    async fn request<T>(
        &self,
        operation: Operation<'_>,
        response: impl Future<Output = Result<T, ProtocolError>>,
    ) -> Result<T, SftpError> {
        // russh-sftp accepts requests on a closed connection too; each would wait for its timeout.
        if self.link.is_closed() {
            return Err(operation.disconnected(&self.link.peer, self.link.end_reason()));
        }
        let limit = self.link.timeouts.request;
        match timeout(limit, response).await {
            Err(_) => Err(timed_out(&self.link, operation, limit)),
            Ok(response) => response.map_err(|error| self.failed(operation, error)),
        }
    }

    /// As `request`, within the time that a transfer has left after so many bytes.
    async fn paced<T>(
        &self,
        operation: Operation<'_>,
        pace: Pace,
        received: u64,
        response: impl Future<Output = Result<T, ProtocolError>>,
    ) -> Result<T, SftpError> {
        match timeout(pace.left(received, Duration::ZERO), self.request(operation, response)).await {
            Err(_) => Err(self.too_slow(operation, received)),
            Ok(response) => response,
        }
    }

    fn pace(&self) -> Pace {
        Pace::new(self.link.timeouts.request)
    }

    fn too_slow(&self, operation: Operation<'_>, received: u64) -> SftpError {
        let Operation { action, path } = operation;
        SftpError::TooSlow { peer: self.link.peer.clone(), path: path.to_owned(), action, received }
    }

    fn failed(&self, operation: Operation<'_>, error: ProtocolError) -> SftpError {
        operation.failed(&self.link.peer, error, || self.link.end_reason())
    }

    fn timed_out(&self, operation: Operation<'_>) -> SftpError {
        timed_out(&self.link, operation, self.link.timeouts.request)
    }
}

/// The version exchange, and the query of the server's limits if it supports that.
async fn initialise(raw: &mut RawSftpSession) -> Result<(HashMap<String, String>, Limits), ProtocolError> {
    let extensions = raw.init().await?.extensions;
    if !extensions.contains_key("limits@openssh.com") {
        return Ok((extensions, Limits::default()));
    }
    let limits = match raw.limits().await {
        // Some servers announce what they refuse.
        Err(ProtocolError::Status(_)) => Limits::default(),
        limits => Limits::from(limits?),
    };
    Ok((extensions, limits))
}

fn request_len(limit: Option<u64>) -> u32 {
    match limit {
        Some(limit) => u32::try_from(limit).unwrap_or(MAX_REQUEST).clamp(1, MAX_REQUEST),
        None => SAFE_REQUEST,
    }
}

fn no_channel(link: &Link, operation: Operation<'_>, error: ChannelError) -> SftpError {
    match error {
        ChannelError::Timeout(limit) => timed_out(link, operation, limit),
        ChannelError::Refused(reason) => no_subsystem(link, reason),
        ChannelError::Disconnected(reason) => operation.disconnected(&link.peer, reason),
    }
}

fn no_subsystem(link: &Link, reason: String) -> SftpError {
    SftpError::NoSubsystem { peer: link.peer.clone(), reason }
}

fn timed_out(link: &Link, operation: Operation<'_>, limit: Duration) -> SftpError {
    SftpError::Timeout {
        peer: link.peer.clone(),
        path: operation.path.to_owned(),
        action: operation.action,
        seconds: limit.as_secs(),
    }
}
