//! Certificates of a member and its clients.

use std::path::PathBuf;

use kit::etcd::Etcd;
use kit::pki::Authority;

/// A CA with a server's and a client's certificate, a second CA, and certificates with one fault each.
pub struct Certs(tempfile::TempDir);

impl Certs {
    pub fn make() -> Self {
        let certs = Self(tempfile::tempdir().unwrap());
        let create = |name| Authority::create(certs.0.path(), name, &format!("/CN={name}"), 2).unwrap();
        let issue = |ca: &Authority, name: &str, names: &str| {
            ca.issue(name, &format!("/CN={name}"), names).unwrap();
        };
        let (ca, other) = (create("ca"), create("other-ca"));
        issue(&ca, "server", "IP:127.0.0.1,DNS:localhost");
        issue(&ca, "elsewhere", "DNS:elsewhere.example.com");
        issue(&ca, "nameless", "");
        issue(&ca, "client", "");
        issue(&other, "stranger", "");
        certs
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A member with this certificate, which demands one of its clients.
    pub fn start(&self, server: &str) -> Etcd {
        let flag = |name: &str, file: &str| format!("--{name}={}", self.path(file).display());
        let ca = flag("trusted-ca-file", "ca.crt");
        let cert = flag("cert-file", &format!("{server}.crt"));
        let key = flag("key-file", &format!("{server}.key"));
        Etcd::start("alone", &[&ca, &cert, &key, "--client-cert-auth"]).unwrap()
    }
}
