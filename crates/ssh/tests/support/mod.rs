//! A real sshd on loopback, run by the user who runs the tests, and a TCP proxy that delays, stalls or cuts connections.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

pub mod proxy;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nightshift_ssh::{ConnectError, Endpoint, Identity, KnownHosts, Session, Timeouts};

const SSHD: &str = "/usr/sbin/sshd";

/// The name under which the tests pin the server.
pub const HOST: &str = "peer.example.com";

/// A running sshd with its keys in its own directory. It is stopped on drop.
pub struct Sshd {
    pub dir: tempfile::TempDir,
    pub port: u16,
    pub user: String,
    listener: Child,
}

/// Starts a server. Without OpenSSH it returns `None`, or fails if the lab is required.
pub fn sshd(settings: &str) -> Option<Sshd> {
    if Path::new(SSHD).exists() {
        return Some(Sshd::start(settings));
    }
    let why = format!("skipped: no OpenSSH server at {SSHD}");
    assert!(std::env::var("NIGHTSHIFT_LAB").as_deref() != Ok("required"), "{why}");
    eprintln!("{why}");
    None
}

impl Sshd {
    fn start(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        keygen(dir.path(), "host", &["-t", "ed25519"]);
        keygen(dir.path(), "id", &["-t", "ed25519"]);
        let user = run("id", &["-un"]).trim().to_owned();
        if user == "root" {
            // sshd's privilege separation directory; normally it is created at boot.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        fs::copy(dir.path().join("id.pub"), dir.path().join("authorized_keys")).unwrap();
        for _ in 0..5 {
            let port = free_port();
            let mut listener = spawn(dir.path(), port, settings);
            if answers(&mut listener, port) {
                return Self { dir, port, user, listener };
            }
        }
        panic!("sshd does not start:\n{}", fs::read_to_string(dir.path().join("log")).unwrap_or_default());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path for SFTP.
    pub fn remote(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn endpoint(&self) -> Endpoint {
        self.endpoint_at(self.port)
    }

    /// The server behind a proxy on this port.
    pub fn endpoint_at(&self, port: u16) -> Endpoint {
        Endpoint { address: "127.0.0.1".into(), port, user: self.user.clone(), known_as: vec![HOST.into()] }
    }

    pub fn identity(&self) -> Identity {
        Identity::load(&self.path("id")).unwrap()
    }

    /// Pins the server's key under its bare name, which matches every port.
    pub fn known_hosts(&self) -> KnownHosts {
        KnownHosts::parse(&format!("{HOST} {}", public(&self.path("host.pub")))).unwrap()
    }

    /// Replaces the authorised key and its options.
    pub fn authorize(&self, options: &str, key: &str) {
        let line = format!("{options} {}", public(&self.path(key)));
        fs::write(self.path("authorized_keys"), line).unwrap();
    }

    pub async fn session(&self) -> Session {
        self.connect(&self.known_hosts()).await.unwrap()
    }

    pub async fn connect(&self, known_hosts: &KnownHosts) -> Result<Session, ConnectError> {
        Session::connect(&self.endpoint(), &self.identity(), known_hosts, &Timeouts::default()).await
    }

    pub async fn session_at(&self, port: u16, timeouts: &Timeouts) -> Session {
        Session::connect(&self.endpoint_at(port), &self.identity(), &self.known_hosts(), timeouts)
            .await
            .unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}

fn spawn(dir: &Path, port: u16, settings: &str) -> Child {
    let at = dir.display();
    let config = format!(
        "{settings}\nListenAddress 127.0.0.1:{port}\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized_keys\n\
         PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\nMaxStartups 100\nLogLevel VERBOSE\nSubsystem sftp internal-sftp\n"
    );
    fs::write(dir.join("sshd_config"), config).unwrap();
    let log = fs::File::create(dir.join("log")).unwrap();
    Command::new(SSHD)
        .args(["-D", "-e", "-f"])
        .arg(dir.join("sshd_config"))
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn answers(listener: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if listener.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Creates a key pair `name`, `name.pub`, without a passphrase unless the options set one.
pub fn keygen(dir: &Path, name: &str, options: &[&str]) {
    let path = dir.join(name);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-C", "test", "-f"]).arg(&path).args(options);
    if !options.contains(&"-N") {
        command.args(["-N", ""]);
    }
    assert!(command.status().unwrap().success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// `type base64` of a public key file.
pub fn public(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Pseudo-random bytes, the same for the same length.
pub fn content(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub async fn within<T>(limit: Duration, what: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, what).await.expect("it takes too long")
}
