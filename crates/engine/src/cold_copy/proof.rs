//! Stopped for certain: nothing listens where the member did, and nobody has its database open.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::collect::safe_open::{Missing, open_file, open_folder};

const CONNECT: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error(
        "where the member keeps its data is not known: neither etcd.conf nor a pod's manifest gives its data directory"
    )]
    Unknown,
    #[error("the data directory {} cannot be found", .path.display())]
    NotFound { path: PathBuf, source: io::Error },
    #[error("{}: {why}", .path.display())]
    NotTaken { path: PathBuf, why: Missing },
    #[error("{} cannot be locked", .path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("the member was not proved stopped within {} s: {why}", .after.as_secs())]
    Runs { after: Duration, why: String },
}

/// A member's `member/` folder, opened through no link.
#[derive(Debug)]
pub struct Data {
    pub member: PathBuf,
    pub folder: OwnedFd,
    database: File,
}

impl Data {
    /// Opens it while the member still runs, so that what cannot be copied is known before anything is stopped.
    pub fn open(data_dir: Option<&Path>) -> Result<Self, DataError> {
        let path = data_dir.ok_or(DataError::Unknown)?;
        // Where it lies is an administrator's to say, by links too; what lies in it is etcd's.
        let real =
            fs::canonicalize(path).map_err(|source| DataError::NotFound { path: path.to_owned(), source })?;
        let member = real.join("member");
        let opened =
            |path: &Path| open_folder(path).map_err(|why| DataError::NotTaken { path: path.to_owned(), why });
        let folder = opened(&member)?;
        // A WAL that lies elsewhere would be missing from the copy.
        opened(&member.join("wal"))?;
        let database = member.join("snap/db");
        let file = open_file(&opened(&member.join("snap"))?, OsStr::new("db"), &database);
        let file = file.map_err(|why| DataError::NotTaken { path: database, why })?;
        Ok(Self { member, folder, database: file })
    }

    /// Waits until the member is gone, and keeps it from coming back before this is dropped: etcd holds this lock as long
    /// as it has its database open, in whatever container, and waits for it before it reads anything.
    pub async fn hold(&self, endpoint: &str, within: Duration) -> Result<(), DataError> {
        let until = Instant::now() + within;
        loop {
            let why = if may_listen(endpoint).await {
                format!("something listens at {endpoint}")
            } else {
                match rustix::fs::flock(&self.database, FlockOperation::NonBlockingLockShared) {
                    Ok(()) => return Ok(()),
                    Err(Errno::WOULDBLOCK) => {
                        format!("{} is open elsewhere", self.member.join("snap/db").display())
                    }
                    Err(errno) => {
                        let path = self.member.join("snap/db");
                        return Err(DataError::Lock { path, source: errno.into() });
                    }
                }
            };
            if Instant::now() >= until {
                return Err(DataError::Runs { after: within, why });
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Whether something may still be there: all but a plain refusal counts, for the member is to be shown to be gone.
async fn may_listen(endpoint: &str) -> bool {
    match connect(endpoint).await {
        Some(Err(error)) => error.kind() != io::ErrorKind::ConnectionRefused,
        Some(Ok(())) | None => true,
    }
}

/// Whether something is there for certain.
pub async fn takes_connections(endpoint: &str) -> bool {
    matches!(connect(endpoint).await, Some(Ok(())))
}

/// Connects to a member's client URL; `None` where nothing came of it in time, or the URL names no port.
async fn connect(endpoint: &str) -> Option<io::Result<()>> {
    let uri = endpoint.parse::<Uri>().ok()?;
    let (host, port) = (uri.host()?.trim_matches(['[', ']']), uri.port_u16()?);
    timeout(CONNECT, TcpStream::connect((host, port))).await.ok().map(|connected| connected.map(drop))
}
