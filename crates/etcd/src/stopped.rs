//! Proof that a member is stopped: nothing listens at its client URL, and no process has its database open.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use nightshift_store::safe_open::{Missing, open_directory, open_file};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("the member's data directory is unknown: it is neither in etcd.conf nor in a pod's manifest")]
    Unknown,
    #[error("cannot find the data directory {}", .path.display())]
    NotFound { path: PathBuf, source: io::Error },
    #[error("cannot open {}: {reason}", .path.display())]
    Open { path: PathBuf, reason: Missing },
    #[error("cannot lock {}", .path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error(
        "no process has {} open, so it is not the database of the running member; check the data directory in etcd.conf or in \
         the pod's manifest", .path.display()
    )]
    NotInUse { path: PathBuf },
    #[error("the member did not stop within {} s: {reason}", .after.as_secs())]
    StillRuns { after: Duration, reason: String },
}

/// A member's `member/` directory, opened without following links.
#[derive(Debug)]
pub struct Data {
    pub member: PathBuf,
    pub directory: OwnedFd,
    snap: OwnedFd,
    /// The lock on the database, from the proof that the member is stopped.
    lock: Option<File>,
}

impl Data {
    /// Opens it while the member still runs, so that errors are found before anything is stopped.
    pub fn open(data_dir: Option<&Path>) -> Result<Self, DataError> {
        let path = data_dir.ok_or(DataError::Unknown)?;
        // An administrator may set a path with links; what is in the directory is etcd's.
        let real =
            fs::canonicalize(path).map_err(|source| DataError::NotFound { path: path.to_owned(), source })?;
        let member = real.join("member");
        let opened = |path: &Path| {
            open_directory(path).map_err(|reason| DataError::Open { path: path.to_owned(), reason })
        };
        let directory = opened(&member)?;
        // A write-ahead log in another directory would be missing from the copy.
        opened(&member.join("wal"))?;
        let snap = opened(&member.join("snap"))?;
        let data = Self { member, directory, snap, lock: None };
        data.database()?;
        Ok(data)
    }

    fn path(&self) -> PathBuf {
        self.member.join("snap/db")
    }

    /// Opens the database again: etcd replaces the file when it defragments, or when it receives a snapshot from its leader.
    fn database(&self) -> Result<File, DataError> {
        open_file(&self.snap, OsStr::new("db"), &self.path())
            .map_err(|reason| DataError::Open { path: self.path(), reason })
    }

    /// The lock that etcd has while its database is open, also in a container (docs/facts/etcd.md#copies-of-a-live-database).
    /// `None` if another process has it.
    fn try_lock(&self) -> Result<Option<File>, DataError> {
        let database = self.database()?;
        match database.try_lock_shared() {
            Ok(()) => Ok(Some(database)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(DataError::Lock { path: self.path(), source }),
        }
    }

    /// An error if no process has the database open while the member runs: then it is another or an old database.
    pub fn require_in_use(&self) -> Result<(), DataError> {
        match self.try_lock()? {
            Some(_unlocked) => Err(DataError::NotInUse { path: self.path() }),
            None => Ok(()),
        }
    }

    /// Waits until the member has stopped, and prevents its start until this is dropped.
    pub async fn lock_stopped(&mut self, endpoint: &str, within: Duration) -> Result<(), DataError> {
        let until = Instant::now() + within;
        loop {
            let reason = if may_listen(endpoint).await {
                format!("something listens at {endpoint}")
            } else {
                self.lock = self.try_lock()?;
                if self.lock.is_some() {
                    return Ok(());
                }
                format!("a process has {} open", self.path().display())
            };
            if Instant::now() >= until {
                return Err(DataError::StillRuns { after: within, reason });
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

/// Whether something may listen: only a refused connection proves that nothing does.
async fn may_listen(endpoint: &str) -> bool {
    match connect(endpoint).await {
        Some(Err(error)) => error.kind() != io::ErrorKind::ConnectionRefused,
        Some(Ok(())) | None => true,
    }
}

/// Whether something listens for certain.
pub async fn accepts_connections(endpoint: &str) -> bool {
    matches!(connect(endpoint).await, Some(Ok(())))
}

/// Connects to a member's client URL; `None` after a timeout, or if the URL has no port.
async fn connect(endpoint: &str) -> Option<io::Result<()>> {
    let uri = endpoint.parse::<Uri>().ok()?;
    let (host, port) = (uri.host()?.trim_matches(['[', ']']), uri.port_u16()?);
    timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await.ok().map(|connected| connected.map(drop))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_member_counts_as_stopped_once_nothing_has_its_database_open_or_listens_for_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("member/wal")).unwrap();
        fs::create_dir_all(dir.path().join("member/snap")).unwrap();
        let database = File::create(dir.path().join("member/snap/db")).unwrap();
        database.lock().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());

        let mut data = Data::open(Some(dir.path())).unwrap();
        data.require_in_use().unwrap();
        let listening = data.lock_stopped(&endpoint, Duration::ZERO).await.unwrap_err();
        assert!(listening.to_string().contains(&endpoint), "{listening}");
        drop(listener);
        let open = data.lock_stopped(&endpoint, Duration::ZERO).await.unwrap_err();
        assert!(open.to_string().contains("snap/db"), "{open}");
        drop(database);
        data.lock_stopped(&endpoint, Duration::ZERO).await.unwrap();
        assert!(matches!(data.require_in_use(), Err(DataError::NotInUse { .. })));
    }
}
