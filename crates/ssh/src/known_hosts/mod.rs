//! Pinned host keys, with the semantics of OpenSSH's known_hosts: hashed names, wildcards, negation, ports, revocation,
//! certificate authorities and several keys per host.

mod certificate;
mod entry;
mod pattern;
mod pin;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PublicKey, PublicKeyBase64 as _};
use thiserror::Error;

use crate::Endpoint;

pub(crate) use certificate::CertificateVerdict;
use entry::{Entry, Marker};
pub use pin::{Pin, pin, pin_all, pin_lines, replace};

/// OpenSSH's default port. A name that is pinned for another port is written as `[name]:port`.
const SSH_PORT: u16 = 22;

/// In bytes: several times the size that the keys of a large cluster need.
const MAX_FILE: u64 = 16 * 1024 * 1024;

#[derive(Debug, Error)]
pub enum KnownHostsError {
    #[error("cannot read the pinned host keys in {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("no host key is pinned, because {} does not exist; run `nightshift trust`", path.display())]
    Missing { path: PathBuf },
    #[error("{}:{line}: {problem}; correct or remove this line", path.display())]
    Line { path: PathBuf, line: usize, problem: String },
    #[error("{} is larger than 16 MiB, so it is not a known_hosts file", path.display())]
    TooLarge { path: PathBuf },
    #[error("cannot write the pinned host keys to {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot pin {name:?}: it is not the name of a single host")]
    Name { name: String },
    #[error(
        "{}:{line}: this line pins {name} together with other hosts; write a line of its own for each, then run this command again",
        path.display()
    )]
    Shared { path: PathBuf, line: usize, name: String },
    #[error("cannot pin line {line}: {problem}; expected `host type key`")]
    Pin { line: usize, problem: String },
    #[error("the key of {name} is revoked in {}; give the host a new one", path.display())]
    Revoked { path: PathBuf, name: String },
}

/// The result of looking up a host's key in known_hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyVerdict {
    Trusted,
    /// The key is revoked (`@revoked`), so it is never trusted, even if it is pinned too.
    Revoked,
    /// Other keys are pinned for this host; `expected` has their fingerprints.
    Changed {
        expected: Vec<String>,
    },
    /// No key is pinned for this host.
    Unknown,
}

/// A known_hosts file, loaded once.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    entries: Vec<Entry>,
}

impl KnownHosts {
    /// Reads a file. An invalid line is an error, because it may be the one that revokes a key.
    pub fn load(path: &Path) -> Result<Self, KnownHostsError> {
        Self::parse_from(path, &read(path)?)
    }

    /// Reads the file of another program for these hosts. As in OpenSSH, an invalid line of another host is skipped; returns the number
    /// of those.
    pub fn load_for(path: &Path, endpoints: &[Endpoint]) -> Result<(Self, usize), KnownHostsError> {
        let bytes = read_bytes(path)?;
        // A comment may have another encoding.
        let text = String::from_utf8_lossy(&bytes);
        let of = |endpoint: &Endpoint| {
            [lookups(endpoint.names(), endpoint.port), lookups(endpoint.names(), SSH_PORT)].concat()
        };
        let wanted: Vec<String> = endpoints.iter().flat_map(of).collect();
        let (mut entries, mut skipped) = (Vec::new(), 0);
        for (index, line) in text.lines().enumerate() {
            match Entry::parse(line) {
                Ok(entry) => entries.extend(entry),
                Err(problem) if Entry::is_for_any(line, &wanted) => {
                    return Err(KnownHostsError::Line { path: path.to_owned(), line: index + 1, problem });
                }
                Err(_) => skipped += 1,
            }
        }
        Ok((Self { entries }, skipped))
    }

    /// Reads the text of a file; its path in errors is `known_hosts`.
    pub fn parse(text: &str) -> Result<Self, KnownHostsError> {
        Self::parse_from(Path::new("known_hosts"), text)
    }

    fn parse_from(path: &Path, text: &str) -> Result<Self, KnownHostsError> {
        let mut entries = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let entry = Entry::parse(line).map_err(|problem| KnownHostsError::Line {
                path: path.to_owned(),
                line: index + 1,
                problem,
            })?;
            entries.extend(entry);
        }
        Ok(Self { entries })
    }

    /// Looks up a host's plain key. As in OpenSSH, a key that is pinned for the bare name is also trusted on other ports.
    pub fn check<N: AsRef<str>>(&self, names: &[N], port: u16, key: &PublicKey) -> HostKeyVerdict {
        let verdict = self.check_as(&lookups(names, port), key.key_data());
        if verdict != HostKeyVerdict::Unknown || port == SSH_PORT {
            return verdict;
        }
        match self.check_as(&lookups(names, SSH_PORT), key.key_data()) {
            accepted_or_revoked @ (HostKeyVerdict::Trusted | HostKeyVerdict::Revoked) => accepted_or_revoked,
            _ => HostKeyVerdict::Unknown,
        }
    }

    fn check_as(&self, lookups: &[String], key: &KeyData) -> HostKeyVerdict {
        if self.is_revoked(lookups, key) {
            return HostKeyVerdict::Revoked;
        }
        let pinned: Vec<&KeyData> = self.keys(lookups, Marker::None).collect();
        if pinned.contains(&key) {
            HostKeyVerdict::Trusted
        } else if pinned.is_empty() {
            HostKeyVerdict::Unknown
        } else {
            let expected = pinned.iter().map(|key| fingerprint(key)).collect();
            HostKeyVerdict::Changed { expected }
        }
    }

    /// Whether a signature by this key was made by the host: its key is pinned, or was until after `made_at`. The time is the one
    /// that the host stated in what it signed, so that a stolen former key must be revoked (`@revoked`).
    pub fn check_signer<N: AsRef<str>>(
        &self,
        names: &[N],
        port: u16,
        key: &PublicKey,
        made_at: Timestamp,
    ) -> HostKeyVerdict {
        let verdict = self.check(names, port, key);
        if matches!(verdict, HostKeyVerdict::Trusted | HostKeyVerdict::Revoked) {
            return verdict;
        }
        let lookups = [lookups(names, port), lookups(names, SSH_PORT)];
        let was_pinned = self.entries.iter().any(|entry| {
            entry.replaced().is_some_and(|replaced| made_at < replaced)
                && entry.key.as_ref() == Some(key.key_data())
                && lookups.iter().any(|names| entry.applies_to(names))
        });
        if was_pinned { HostKeyVerdict::Trusted } else { verdict }
    }

    /// The plain keys that are pinned for a host and not revoked, each as its type and its base64.
    pub fn pinned<N: AsRef<str>>(&self, names: &[N], port: u16) -> Vec<(String, String)> {
        let (of_port, of_name) = (lookups(names, port), lookups(names, SSH_PORT));
        let pinned = self.keys(&of_port, Marker::None).chain(self.keys(&of_name, Marker::None));
        let keys = pinned.filter(|key| !self.is_revoked(&of_port, key) && !self.is_revoked(&of_name, key));
        let mut keys: Vec<_> = keys
            .map(|key| {
                let key = PublicKey::from(key.clone());
                (key.algorithm().to_string(), key.public_key_base64())
            })
            .collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// The plain keys by which OpenSSH would know a host: those for its port, else those for its bare name. Revoked ones are left out.
    pub fn plain_keys<N: AsRef<str>>(&self, names: &[N], port: u16) -> Vec<PublicKey> {
        let (of_port, of_name) = (lookups(names, port), lookups(names, SSH_PORT));
        let of = |lookups| -> Vec<PublicKey> {
            let keys = self.keys(lookups, Marker::None);
            let keys = keys.filter(|key| !self.is_revoked(&of_port, key) && !self.is_revoked(&of_name, key));
            keys.cloned().map(PublicKey::from).collect()
        };
        let mut keys = of(&of_port);
        if keys.is_empty() {
            keys = of(&of_name);
        }
        keys.sort();
        keys.dedup();
        keys
    }

    /// Whether a plain key is pinned for a host. Logging in needs that or a certificate authority; signatures need it.
    pub fn has_plain_pin<N: AsRef<str>>(&self, names: &[N], port: u16) -> bool {
        !self.key_types(names, port).is_empty()
    }

    /// A key is revoked if any of the names matches, also if a pattern of the line excludes another of the names.
    fn is_revoked(&self, lookups: &[String], key: &KeyData) -> bool {
        self.entries.iter().any(|entry| {
            entry.marker == Marker::Revoked
                && entry.key.as_ref() == Some(key)
                && lookups.iter().any(|name| entry.hosts.matches(name))
        })
    }

    fn keys<'a>(&'a self, lookups: &'a [String], marker: Marker) -> impl Iterator<Item = &'a KeyData> {
        self.entries
            .iter()
            .filter(move |entry| entry.marker == marker && entry.applies_to(lookups))
            .filter_map(|entry| entry.key.as_ref())
    }

    /// The entries for one host, so that a session does not need the keys of the whole cluster.
    pub(crate) fn for_host<N: AsRef<str>>(&self, names: &[N], port: u16) -> Self {
        let mut lookups_of_host = lookups(names, port);
        lookups_of_host.extend(lookups(names, SSH_PORT));
        let of_host = |entry: &&Entry| lookups_of_host.iter().any(|name| entry.hosts.matches(name));
        Self { entries: self.entries.iter().filter(of_host).cloned().collect() }
    }

    /// The types of the keys that are pinned for a host, so that one of these is negotiated.
    pub(crate) fn key_types<N: AsRef<str>>(&self, names: &[N], port: u16) -> Vec<Algorithm> {
        let of_port = lookups(names, port);
        let of_name = lookups(names, SSH_PORT);
        self.keys(&of_port, Marker::None)
            .chain(self.keys(&of_name, Marker::None))
            .map(KeyData::algorithm)
            .collect()
    }
}

/// `SHA256:…`, as printed by ssh-keygen.
pub(crate) fn fingerprint(key: &KeyData) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// The names under which a host is looked up.
fn lookups<N: AsRef<str>>(names: &[N], port: u16) -> Vec<String> {
    names.iter().map(|name| lookup(name.as_ref(), port)).collect()
}

fn lookup(name: &str, port: u16) -> String {
    let name = name.to_ascii_lowercase();
    if port == SSH_PORT { name } else { format!("[{name}]:{port}") }
}

fn read(path: &Path) -> Result<String, KnownHostsError> {
    let text = String::from_utf8(read_bytes(path)?);
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
    text.map_err(|error| KnownHostsError::Read { path: path.to_owned(), source: not_text(error) })
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, KnownHostsError> {
    let failed = |source| KnownHostsError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => KnownHostsError::Missing { path: path.to_owned() },
        _ => failed(source),
    })?;
    let length = file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if length as u64 > MAX_FILE {
        return Err(KnownHostsError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
