//! Real etcd members on loopback.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::lab::cmd::{Cmd, Output, poll};
use crate::lab::{Error, Result, tools};
use crate::port;

const STARTS: Duration = Duration::from_secs(30);
/// A snapshot of half a gigabyte is saved and read within it.
const ETCDCTL_TIMEOUT: Duration = Duration::from_secs(120);

/// The release that the tests of a cluster use instead of the installed one, such as `3.6`: `cargo xtask test etcd` sets it.
const CHOSEN: &str = "NIGHTSHIFT_ETCD";

/// Whether etcd is installed.
pub fn available() -> std::result::Result<(), String> {
    let version =
        Command::new(Release::default().program("etcd")).arg("--version").stdout(Stdio::null()).status();
    version.map(drop).map_err(|error| format!("etcd is not installed: {error}"))
}

/// The programs of one release of etcd: those that are installed, or others.
#[derive(Clone, Debug)]
pub struct Release {
    folder: Option<PathBuf>,
}

/// The chosen release, else the installed one.
impl Default for Release {
    fn default() -> Self {
        Self { folder: env::var_os(CHOSEN).map(|name| folder(&name.to_string_lossy())) }
    }
}

fn folder(release: &str) -> PathBuf {
    tools().join(format!("etcd-{release}/usr/bin"))
}

impl Release {
    /// Another release that `cargo xtask setup` installs or builds, such as `3.6`.
    pub fn named(release: &str) -> std::result::Result<Self, String> {
        let folder = folder(release);
        if folder.join("etcd").exists() {
            return Ok(Self { folder: Some(folder) });
        }
        Err(format!("etcd {release} is not in {}: run cargo xtask setup", folder.display()))
    }

    /// The directory of its programs, if they are not the installed ones.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.as_ref().map_or_else(|| name.into(), |folder| folder.join(name))
    }
}

/// A member with its data in a directory of its own. It is killed on drop.
pub struct Etcd {
    child: Option<Child>,
    release: Release,
    arguments: Vec<String>,
    folder: TempDir,
    pub name: String,
    pub url: String,
    pub port: u16,
    pub peer_url: String,
}

impl Etcd {
    /// A cluster of one. It listens, but may not have a leader yet. With a certificate among the flags it speaks TLS.
    pub fn start(name: &str, flags: &[&str]) -> Result<Self> {
        Self::start_of(&Release::default(), name, flags)
    }

    /// A cluster of one, of a release.
    pub fn start_of(release: &Release, name: &str, flags: &[&str]) -> Result<Self> {
        let peer = peer_url();
        let cluster = format!("--initial-cluster={name}={peer}");
        Self::launch(release, name, &peer, &[&[cluster.as_str()], flags].concat())
    }

    /// A member of the cluster that the flags describe.
    pub fn start_in(name: &str, peer_url: &str, flags: &[&str]) -> Result<Self> {
        Self::launch(&Release::default(), name, peer_url, flags)
    }

    /// One member for each name, when all of them are well.
    pub fn start_cluster(names: &[&str]) -> Result<Vec<Self>> {
        let peers: Vec<String> = names.iter().map(|_| peer_url()).collect();
        let listed: Vec<String> =
            names.iter().zip(&peers).map(|(name, peer)| format!("{name}={peer}")).collect();
        let cluster = format!("--initial-cluster={}", listed.join(","));
        let members = names.iter().zip(&peers).map(|(name, peer)| Self::start_in(name, peer, &[&cluster]));
        let members: Vec<Self> = members.collect::<Result<_>>()?;
        members.iter().try_for_each(Self::wait_well)?;
        Ok(members)
    }

    /// A member on a data directory that was copied, as the only one of its cluster, when it is well.
    pub fn start_forced(data: &Path, flags: &[&str]) -> Result<Self> {
        let data = format!("--data-dir={}", data.display());
        let etcd = Self::start("forced", &[&[data.as_str(), "--force-new-cluster"], flags].concat())?;
        etcd.wait_well()?;
        Ok(etcd)
    }

    fn launch(release: &Release, name: &str, peer_url: &str, flags: &[&str]) -> Result<Self> {
        let folder = TempDir::with_prefix("etcd-").map_err(Error::io("making a member's directory"))?;
        let port = port::free();
        let is_tls = |flag: &&str| flag.starts_with("--cert-file") || *flag == "--auto-tls";
        let scheme = if flags.iter().any(is_tls) { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{port}");
        let data = folder.path().join("data").display().to_string();
        // etcd takes the last one of a flag that is given twice.
        let arguments = ["--name", name, "--data-dir", &data]
            .into_iter()
            .chain(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .chain(["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url])
            .chain(flags.iter().copied())
            .map(str::to_owned)
            .collect();
        let (name, peer_url) = (name.to_owned(), peer_url.to_owned());
        let mut etcd =
            Self { child: None, release: release.clone(), arguments, folder, name, url, port, peer_url };
        etcd.up()?;
        Ok(etcd)
    }

    /// Starts it on its data, and waits until it listens.
    pub fn up(&mut self) -> Result<()> {
        let path = self.folder.path().join("log");
        let log = fs::File::options().create(true).append(true).open(&path);
        let log = log.map_err(Error::io(format!("opening {}", path.display())))?;
        let mut command = Command::new(self.release.program("etcd"));
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = self.child.insert(command.spawn().map_err(Error::io("starting etcd"))?);
        poll("etcd to listen", STARTS, || match child.try_wait() {
            Ok(None) if TcpStream::connect(("127.0.0.1", self.port)).is_ok() => Ok(()),
            _ => Err(fs::read_to_string(&path).unwrap_or_default()),
        })
    }

    /// The program and its arguments.
    pub fn command_line(&self) -> Vec<String> {
        let program = self.release.program("etcd").display().to_string();
        std::iter::once(program).chain(self.arguments.iter().cloned()).collect()
    }

    /// The id of its process, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Waits until it commits a proposal.
    pub fn wait_well(&self) -> Result<()> {
        poll("etcd to be well", STARTS, || self.health().map(drop).map_err(|error| error.to_string()))
    }

    /// What `etcdctl endpoint health` says.
    pub fn health(&self) -> Result<String> {
        self.etcdctl(&["endpoint", "health"]).map(|output| output.text() + &output.stderr)
    }

    pub fn put(&self, key: &str, value: impl AsRef<[u8]>) -> Result<()> {
        // A long value goes in as input.
        self.cmd(&["put", key]).stdin(value.as_ref()).run().map(drop)
    }

    pub fn etcdctl(&self, words: &[&str]) -> Result<Output> {
        self.cmd(words).run()
    }

    /// The program that reads and restores snapshots without a server: etcdctl, until etcd 3.5 brought etcdutl.
    pub fn offline(&self, words: &[&str]) -> Result<Output> {
        let etcdutl = self.release.program("etcdutl");
        if etcdutl.exists() { Cmd::new(etcdutl).args(words).run() } else { self.etcdctl(words) }
    }

    /// In words of the v2 API.
    pub fn etcdctl2(&self, words: &[&str]) -> Result<Output> {
        self.cmd(words).env("ETCDCTL_API", "2").run()
    }

    fn cmd(&self, words: &[&str]) -> Cmd {
        let cmd = Cmd::new(self.release.program("etcdctl")).env("ETCDCTL_API", "3").timeout(ETCDCTL_TIMEOUT);
        cmd.args(["--endpoints", &self.url]).args(words)
    }

    /// Lets nothing in any more without a password.
    pub fn secure(&self) -> Result<()> {
        self.etcdctl(&["user", "add", "root:secret"])?;
        self.etcdctl(&["user", "grant-role", "root", "root"])?;
        self.etcdctl(&["auth", "enable"]).map(drop)
    }

    /// Has what was written so far in the database file: etcd commits to it each 100 ms, or when it is asked for a
    /// snapshot.
    pub fn settle(&self) -> Result<()> {
        let to = self.folder.path().join("settled.db");
        self.etcdctl(&["snapshot", "save", &to.display().to_string()]).map(drop)
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its configuration, as Ansible writes it.
    pub fn conf(&self) -> String {
        format!("ETCD_NAME={}\nETCD_DATA_DIR={}\n", self.name, self.data().display())
    }

    /// The database that the member has open.
    pub fn database(&self) -> PathBuf {
        self.data().join("member/snap/db")
    }

    /// Changes the data of a stopped member. It does not notice, because the pages of its database have no checksums.
    pub fn alter(&self, before: &[u8], after: &[u8]) -> Result<()> {
        let path = self.database();
        let mut bytes = fs::read(&path).map_err(Error::io(format!("reading {}", path.display())))?;
        let ends = 0..bytes.len().saturating_sub(before.len());
        let places: Vec<usize> = ends.filter(|at| bytes[*at..].starts_with(before)).collect();
        if places.is_empty() || before.len() != after.len() {
            return Err(Error::Refused("there is nothing of this length to replace".to_owned()));
        }
        for at in places {
            bytes[at..at + after.len()].copy_from_slice(after);
        }
        fs::write(&path, bytes).map_err(Error::io(format!("writing {}", path.display())))
    }

    /// Stops it as systemd does: then all its writes are in its database.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            kill_process(Pid::from_child(&child), Signal::TERM)
                .map_err(|error| Error::Refused(format!("stopping etcd: {error}")))?;
            child.wait().map_err(Error::io("waiting for etcd"))?;
        }
        Ok(())
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where a new member's peers will find it.
pub fn peer_url() -> String {
    format!("http://127.0.0.1:{}", port::free())
}
