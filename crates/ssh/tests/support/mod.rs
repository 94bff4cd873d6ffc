//! A real sshd on loopback with a key that it accepts, and connections to it.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::lab::cmd::Cmd;
use kit::sshd::{self, make_key, public_key};
use nightshift_ssh::{ConnectError, Endpoint, Identity, KnownHosts, Session, Timeouts};

/// The name under which the tests pin the server.
pub const HOST: &str = "peer.example.com";

/// A running sshd with its keys in its own directory. It is stopped on drop.
pub struct Sshd {
    server: sshd::Sshd,
    pub dir: tempfile::TempDir,
    pub port: u16,
    pub user: String,
}

/// Starts a server. Without OpenSSH it returns `None`, or fails if the lab is required.
pub fn sshd(settings: &str) -> Option<Sshd> {
    if !kit::require(sshd::available()) {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    keygen(dir.path(), "id", &[]);
    let server = sshd::Sshd::start(dir.path(), settings).unwrap();
    let user = Cmd::new("id").arg("-un").run().unwrap().text();
    let sshd = Sshd { port: server.port, server, dir, user };
    sshd.authorize("", "id.pub");
    Some(sshd)
}

impl Sshd {
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
        KnownHosts::parse(&format!("{HOST} {}", self.server.public_key().unwrap())).unwrap()
    }

    /// Replaces the authorised key and its options.
    pub fn authorize(&self, options: &str, key: &str) {
        self.server.authorize(&[format!("{options} {}", public(&self.path(key)))]).unwrap();
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
        self.server.log()
    }
}

/// Creates a key pair `name`, `name.pub`.
pub fn keygen(dir: &Path, name: &str, options: &[&str]) {
    make_key(&dir.join(name), options).unwrap();
}

/// `type base64` of a public key file.
pub fn public(path: &Path) -> String {
    public_key(path).unwrap()
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
