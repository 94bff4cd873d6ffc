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

use nightshift_store::safe_open::{Missing, open_file, open_folder};

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
    #[error(
        "{} is not open anywhere, so it is not the database of the member that runs: see that etcd.conf, or the pod's \
         manifest, gives the data directory that this member uses", .path.display()
    )]
    NotInUse { path: PathBuf },
    #[error("the member was not proved stopped within {} s: {why}", .after.as_secs())]
    Runs { after: Duration, why: String },
}

/// A member's `member/` folder, opened through no link.
#[derive(Debug)]
pub struct Data {
    pub member: PathBuf,
    pub folder: OwnedFd,
    snap: OwnedFd,
    /// Held from the proof that the member is stopped.
    held: Option<File>,
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
        let snap = opened(&member.join("snap"))?;
        let data = Self { member, folder, snap, held: None };
        data.database()?;
        Ok(data)
    }

    fn path(&self) -> PathBuf {
        self.member.join("snap/db")
    }

    /// Opens the database anew: etcd lays another one in its place when it defragments, or gets one from its leader.
    fn database(&self) -> Result<File, DataError> {
        open_file(&self.snap, OsStr::new("db"), &self.path())
            .map_err(|why| DataError::NotTaken { path: self.path(), why })
    }

    /// Takes the lock that etcd holds as long as it has its database open, in whatever container, and waits for before it
    /// reads anything. `None` where somebody holds it.
    fn lock(&self) -> Result<Option<File>, DataError> {
        let database = self.database()?;
        match rustix::fs::flock(&database, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Some(database)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(DataError::Lock { path: self.path(), source: errno.into() }),
        }
    }

    /// An error where nobody has the database open, while the member runs: then it is another one, or an old one.
    pub fn demand_in_use(&self) -> Result<(), DataError> {
        match self.lock()? {
            Some(_idle) => Err(DataError::NotInUse { path: self.path() }),
            None => Ok(()),
        }
    }

    /// Waits until the member is gone, and keeps it from coming back before this is dropped.
    pub async fn hold(&mut self, endpoint: &str, within: Duration) -> Result<(), DataError> {
        let until = Instant::now() + within;
        loop {
            let why = if may_listen(endpoint).await {
                format!("something listens at {endpoint}")
            } else {
                self.held = self.lock()?;
                if self.held.is_some() {
                    return Ok(());
                }
                format!("{} is open elsewhere", self.path().display())
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_member_counts_as_stopped_once_nothing_has_its_database_open_or_listens_for_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("member/wal")).unwrap();
        fs::create_dir_all(dir.path().join("member/snap")).unwrap();
        let etcds = File::create(dir.path().join("member/snap/db")).unwrap();
        rustix::fs::flock(&etcds, FlockOperation::LockExclusive).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());

        let mut data = Data::open(Some(dir.path())).unwrap();
        data.demand_in_use().unwrap();
        let listening = data.hold(&endpoint, Duration::ZERO).await.unwrap_err();
        assert!(listening.to_string().contains(&endpoint), "{listening}");
        drop(listener);
        let open = data.hold(&endpoint, Duration::ZERO).await.unwrap_err();
        assert!(open.to_string().contains("snap/db"), "{open}");
        drop(etcds);
        data.hold(&endpoint, Duration::ZERO).await.unwrap();
        assert!(matches!(data.demand_in_use(), Err(DataError::NotInUse { .. })));
    }
}
