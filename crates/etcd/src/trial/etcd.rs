//! A scratch etcd: the one way in which etcd is started on a data directory of a copy.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use nightshift_store::process::{Child, explanation};
use nightshift_store::read_tail;

use super::child::Launch;
use super::fault::{Fault, Here as _};
use super::scratch::Scratch;

/// The name of the restored member.
pub const NAME: &str = "drill";
/// etcd creates a socket of this name in its working directory for the URL `unix://drill:1`.
pub const CLIENT_SOCKET: &str = "drill:1";
const PEER_SOCKET: &str = "drill:2";
/// etcd refuses writes to a database beyond its quota (docs/facts/etcd.md#restore), which is not the copy's fault. In bytes.
const MIN_QUOTA: u64 = 8 << 30;
/// The end of a program's output that is read, in bytes.
const MAX_OUTPUT: u64 = 64 << 10;

/// What etcd is started on.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Of the member, as it publishes it.
    pub name: &'a str,
    pub data: &'a Path,
    /// In bytes.
    pub db_size: u64,
    pub origin: Origin,
}

/// Where a data directory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was restored as the only member of a cluster.
    Restored,
    /// It is of one member of a cluster whose other members do not exist any more.
    ForceNewCluster,
}

/// How the scratch etcd is reached. It contains every secret of the cluster, so in neither way another user of this host can
/// read its keys.
#[derive(Debug)]
pub enum Listen {
    /// Ports on loopback, which every user of this host can connect to: so `flags` demand a client certificate.
    Loopback { client_url: String, peer_url: String, flags: Vec<OsString> },
    /// Sockets in the scratch directory, which only this user can enter. They need no certificates, and so serve every version
    /// of etcd that has v2 keys.
    Sockets,
}

impl Listen {
    /// The URLs that clients and peers use, and those that etcd listens on.
    fn urls(&self) -> [String; 4] {
        match self {
            Self::Loopback { client_url, peer_url, .. } => {
                [client_url.clone(), peer_url.clone(), client_url.clone(), peer_url.clone()]
            }
            Self::Sockets => [
                format!("http://{CLIENT_SOCKET}"),
                format!("http://{PEER_SOCKET}"),
                format!("unix://{CLIENT_SOCKET}"),
                format!("unix://{PEER_SOCKET}"),
            ],
        }
    }
}

/// A running scratch etcd. It is killed when this is dropped.
#[derive(Debug)]
pub struct Etcd {
    child: Child,
    log: Log,
}

impl Etcd {
    /// Starts etcd. It does not wait until etcd responds.
    pub fn start(
        launch: Launch,
        etcd: &Path,
        scratch: &Scratch,
        start: Start<'_>,
        listen: &Listen,
    ) -> Result<Self, Fault> {
        let doing = || format!("cannot start {}", etcd.display());
        let log = Log::new(scratch, "etcd.log")?;
        let mut command = launch.logged(etcd, &log.file).here(doing)?;
        let [client, peer, listen_client, listen_peer] = listen.urls();
        command.current_dir(scratch.directory()).arg("--data-dir").arg(start.data);
        command.args(["--name", start.name, "--initial-cluster", &format!("{}={peer}", start.name)]);
        command.args(["--initial-advertise-peer-urls", &peer, "--listen-peer-urls", &listen_peer]);
        command.args(["--advertise-client-urls", &client, "--listen-client-urls", &listen_client]);
        if let Listen::Loopback { flags, .. } = listen {
            command.args(flags);
        }
        let quota = MIN_QUOTA.max(start.db_size.saturating_mul(2)).to_string();
        // As variables: a version that does not know one ignores it, where it refuses to start with an unknown flag.
        command.env("ETCD_QUOTA_BACKEND_BYTES", quota);
        command.env("ETCD_LOGGER", "zap").env("ETCD_LOG_LEVEL", "error");
        if start.origin == Origin::ForceNewCluster {
            command.arg("--force-new-cluster").env("ETCD_ENABLE_V2", "true");
        }
        Ok(Self { child: Child::start(&mut command).here(doing)?, log })
    }

    /// Why it ended, if it has ended: then no failed request to it says anything about the copy.
    pub fn ended(&mut self) -> Option<Fault> {
        match self.child.ended() {
            Ok(None) => None,
            Ok(Some(status)) => Some(self.log.fault("the restored etcd ended", status)),
            Err(error) => Some(Fault::Here(format!("cannot watch the restored etcd: {error}"))),
        }
    }
}

/// Where a program of etcd's writes its output.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    pub(super) file: File,
}

/// What is this host's fault: errors of the kernel, in Go's words, and of an etcd that is older than the copy.
const HOST_ERRORS: [&str; 11] = [
    // etcd etcdserver/api/membership/cluster.go, mustDetectDowngrade
    "cluster cannot be downgraded",
    "invalid downgrade",
    "no space left on device",
    "disk quota exceeded",
    "file too large",
    "cannot allocate memory",
    "out of memory",
    "resource temporarily unavailable",
    "too many open files",
    "input/output error",
    "read-only file system",
];

impl Log {
    pub(super) fn new(scratch: &Scratch, name: &str) -> Result<Self, Fault> {
        let path = scratch.path(name);
        let file = File::create(&path).here(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, file })
    }

    /// What the end of a program means: the copy's fault, unless it was killed or this host lacked something.
    pub(super) fn fault(&self, what: &str, status: ExitStatus) -> Fault {
        fault(what, status, &self.printed())
    }

    pub(super) fn printed(&self) -> String {
        String::from_utf8_lossy(&read_tail(&self.path, MAX_OUTPUT).unwrap_or_default()).into_owned()
    }
}

fn fault(what: &str, status: ExitStatus, printed: &str) -> Fault {
    let reason = format!("{what} ({status}): {}", explanation(printed));
    let of_host = HOST_ERRORS.iter().any(|words| printed.contains(words));
    if status.code().is_none() || of_host { Fault::Here(reason) } else { Fault::Copy(reason) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_full_disk_and_a_killed_program_say_nothing_about_the_copy() {
        let of_copy = |status: i32, printed: &str| {
            matches!(fault("it failed", ExitStatus::from_raw(status), printed), Fault::Copy(_))
        };
        const EXITED: i32 = 1 << 8;
        const KILLED: i32 = 9;
        assert!(of_copy(EXITED, "Error: expected sha256 [1], got [2]"));
        assert!(!of_copy(KILLED, ""));
        assert!(!of_copy(
            EXITED,
            "panic: cluster cannot be downgraded (current version: 3.4.23 is lower than 3.5)"
        ));
        assert!(!of_copy(EXITED, "Error: write db: no space left on device"));
        assert!(!of_copy(
            EXITED,
            "mmap: cannot allocate memory\npanic: failed to open database\n\ngoroutine 1\n"
        ));
    }
}
