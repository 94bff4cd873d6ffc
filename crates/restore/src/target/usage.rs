//! Proof that something is stopped: its ports refuse connections, no process has its database open, and none is in its container.

use std::ffi::OsStr;
use std::fs::TryLockError;
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nightshift_store::IoContext as _;

use super::containers::{PodName, processes};
use super::dir::{Dir, file_type, relative};
use super::error::TargetError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Whether a process has the database in this data directory open: etcd locks it, also in a container
/// (docs/facts/etcd.md#copies-of-a-live-database).
pub fn is_in_use(root: &Path, data: &str) -> Result<bool, TargetError> {
    let Some(snap) = Dir::find(root, &format!("{}/member/snap", relative(data)?))? else { return Ok(false) };
    let name = OsStr::new("db");
    if !snap.entry(name)?.is_some_and(|stat| file_type(&stat).is_file()) {
        return Ok(false);
    }
    match snap.open_file(name)?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Ok(Err(error).on("lock", &snap.path.join(name))?),
    }
}

/// What shows that something runs.
#[derive(Debug)]
pub struct Signs<'a> {
    pub root: &'a Path,
    pub ports: &'a [String],
    pub data: &'a [String],
    pub pods: &'a [PodName],
}

impl Signs<'_> {
    /// Waits until every port refuses connections, no database is open, and no process of a pod runs. Returns why something may
    /// still run then.
    pub fn wait(&self, timeout: Duration) -> Result<Option<String>, TargetError> {
        let until = Instant::now() + timeout;
        while let Some(reason) = self.reason()? {
            if Instant::now() >= until {
                return Ok(Some(reason));
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(None)
    }

    fn reason(&self) -> Result<Option<String>, TargetError> {
        for data in self.data {
            if is_in_use(self.root, data)? {
                return Ok(Some(format!("a process has {}/member/snap/db open", data.trim_end_matches('/'))));
            }
        }
        let of_pod = || {
            let process = processes(self.root, self.pods).into_iter().next()?;
            Some(format!("process {} of a static pod runs", process.as_raw_nonzero()))
        };
        Ok(self.ports.iter().find_map(|port| listens(port)).or_else(of_pod))
    }
}

/// Whether something accepts a connection there.
pub fn accepts(port: &str) -> bool {
    let addresses = port.to_socket_addrs().into_iter().flatten();
    addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok())
}

/// Only a refused connection proves that nothing listens.
fn listens(port: &str) -> Option<String> {
    let addresses = match port.to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(error) => return Some(format!("cannot resolve {port} ({error})")),
    };
    addresses.into_iter().find_map(|address| match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
        Ok(_) => Some(format!("something listens at {address}")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => None,
        Err(error) => Some(format!("{address} does not refuse connections ({error})")),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn something_counts_as_stopped_once_its_port_refuses_and_its_database_is_closed() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("var/lib/etcd/member/snap")).unwrap();
        let database = File::create(root.path().join("var/lib/etcd/member/snap/db")).unwrap();
        database.lock().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ports = [listener.local_addr().unwrap().to_string()];
        let data = ["/var/lib/etcd/".to_owned()];
        let signs = Signs { root: root.path(), ports: &ports, data: &data, pods: &[] };
        let check = |within| signs.wait(within).unwrap();

        assert!(check(Duration::ZERO).unwrap().contains("/var/lib/etcd/member/snap/db open"));
        drop(database);
        assert!(check(Duration::ZERO).unwrap().contains(&format!("something listens at {}", ports[0])));
        drop(listener);
        assert_eq!(check(Duration::from_secs(5)), None);
        let nowhere = Signs { ports: &["none.invalid:1".to_owned()], data: &[], ..signs };
        assert!(nowhere.wait(Duration::ZERO).unwrap().is_some(), "what cannot be checked is not stopped");
    }
}
