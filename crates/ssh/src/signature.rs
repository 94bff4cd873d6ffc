//! Signatures with a host's own SSH key, in the format of `ssh-keygen -Y sign`: each accepts the other's signatures.

use std::path::Path;

use jiff::Timestamp;
use russh::keys::ssh_key::{self, LineEnding, SshSig};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use thiserror::Error;

use crate::identity::{IdentityError, public_key_line, read_private_key};
use crate::known_hosts::{HostKeyVerdict, KnownHosts, fingerprint};

/// In bytes. An RSA-4096 signature with its key has a tenth of this.
const MAX_SIGNATURE: usize = 16 * 1024;

/// The SHA-512 of the content, for content that is too large to be in memory.
pub type Sha512Digest = [u8; 64];

#[derive(Debug, Error)]
pub enum SignatureError {
    #[error("cannot create the signature")]
    Sign { source: ssh_key::Error },
    #[error("invalid signature: not an SSH signature")]
    Malformed { source: ssh_key::Error },
    #[error("invalid signature: longer than 16 KiB")]
    TooLong,
    #[error("invalid signature: its namespace is {found:?}, expected {wanted:?}")]
    Namespace { found: String, wanted: String },
    #[error("unsupported signature: its digest is {found}, expected sha512")]
    Digest { found: String },
    #[error("unsupported signature: it uses SHA-1")]
    Weak,
    #[error("invalid signature: the content or the signature was changed (key {fingerprint})")]
    Wrong { fingerprint: String },
    #[error(
        "signed with the key {fingerprint}, but no key of {host} is pinned; pin its key: nightshift trust {host}"
    )]
    NotPinned { host: String, fingerprint: String },
    #[error(
        "signed with the key {fingerprint}, but only a certificate authority is trusted for {host}, and a signature contains no \
         certificate; pin the host's plain key too: nightshift trust {host}"
    )]
    OnlyAuthority { host: String, fingerprint: String },
    #[error("signed with the key {fingerprint}, which is not pinned for {host} (pinned: {})", expected.join(", "))]
    OtherKey { host: String, fingerprint: String, expected: Vec<String> },
    #[error("signed with the key {fingerprint} of {host}, which is revoked in known_hosts")]
    Revoked { host: String, fingerprint: String },
}

impl SignatureError {
    /// Whether no plain key of the host is pinned, which says nothing about the signature.
    pub const fn is_unchecked(&self) -> bool {
        matches!(self, Self::NotPinned { .. } | Self::OnlyAuthority { .. })
    }
}

/// Signs with a private key of this host.
pub struct Signer {
    key: PrivateKey,
}

impl Signer {
    /// Reads a host key such as `/etc/ssh/ssh_host_ed25519_key`. Its group may have read access: Red Hat's systems give it to
    /// the group `ssh_keys`.
    pub fn from_host_key(path: &Path) -> Result<Self, IdentityError> {
        Ok(Self { key: read_private_key(path, 0o007)? })
    }

    /// Signs content; `ssh-keygen -Y verify -n NAMESPACE` accepts the result.
    pub fn sign(&self, namespace: &str, content: &[u8]) -> Result<String, SignatureError> {
        finish(self.key.sign(namespace, HashAlg::Sha512, content))
    }

    /// Signs content of which only the SHA-512 is known.
    pub fn sign_digest(&self, namespace: &str, digest: &Sha512Digest) -> Result<String, SignatureError> {
        finish(self.key.sign_prehash(namespace, HashAlg::Sha512, digest))
    }

    /// The public key, as in known_hosts and authorized_keys.
    pub fn public_line(&self) -> String {
        public_key_line(self.key.public_key())
    }

    pub fn fingerprint(&self) -> String {
        fingerprint(self.key.public_key().key_data())
    }
}

fn finish(signature: Result<SshSig, ssh_key::Error>) -> Result<String, SignatureError> {
    signature
        .and_then(|signature| signature.to_pem(LineEnding::LF))
        .map_err(|source| SignatureError::Sign { source })
}

/// Whose signature it must be, and when it was made.
#[derive(Debug, Clone, Copy)]
pub struct Signatory<'a, N> {
    pub known_hosts: &'a KnownHosts,
    pub names: &'a [N],
    pub port: u16,
    /// As stated in the signed content. It decides whether a former key of the host counts.
    pub made_at: Timestamp,
}

/// Checks that content was signed with a key of a host: one that is pinned, or that was when the signature was made. Returns the
/// key's fingerprint.
pub fn verify<N: AsRef<str>>(
    namespace: &str,
    content: &[u8],
    pem: &str,
    by: Signatory<'_, N>,
) -> Result<String, SignatureError> {
    let (signature, key) = read(namespace, pem)?;
    by.owns(&key)?;
    key.verify(namespace, content, &signature)
        .map(|()| fingerprint(key.key_data()))
        .map_err(|_| SignatureError::Wrong { fingerprint: fingerprint(key.key_data()) })
}

/// Like [`verify`], for content of which only the SHA-512 is known.
pub fn verify_digest<N: AsRef<str>>(
    namespace: &str,
    digest: &Sha512Digest,
    pem: &str,
    by: Signatory<'_, N>,
) -> Result<String, SignatureError> {
    let (signature, key) = read(namespace, pem)?;
    by.owns(&key)?;
    of_digest(&signature, &key, namespace, digest)
}

/// Checks that content was signed with the key in its signature, whosever it is, and returns that key's fingerprint: for a reader who
/// knows the fingerprint, and nothing else of the host.
pub fn signer_of(namespace: &str, digest: &Sha512Digest, pem: &str) -> Result<String, SignatureError> {
    let (signature, key) = read(namespace, pem)?;
    of_digest(&signature, &key, namespace, digest)
}

/// The fingerprint of the key in a signature, which was not checked.
pub fn claimed_signer(namespace: &str, pem: &str) -> Result<String, SignatureError> {
    read(namespace, pem).map(|(_, key)| fingerprint(key.key_data()))
}

fn of_digest(
    signature: &SshSig,
    key: &PublicKey,
    namespace: &str,
    digest: &Sha512Digest,
) -> Result<String, SignatureError> {
    if signature.hash_alg() != HashAlg::Sha512 {
        return Err(SignatureError::Digest { found: signature.hash_alg().to_string() });
    }
    key.verify_prehash(namespace, digest, signature)
        .map(|()| fingerprint(key.key_data()))
        .map_err(|_| SignatureError::Wrong { fingerprint: fingerprint(key.key_data()) })
}

fn read(namespace: &str, pem: &str) -> Result<(SshSig, PublicKey), SignatureError> {
    if pem.len() > MAX_SIGNATURE {
        return Err(SignatureError::TooLong);
    }
    let signature = SshSig::from_pem(pem).map_err(|source| SignatureError::Malformed { source })?;
    if signature.namespace() != namespace {
        return Err(SignatureError::Namespace {
            found: signature.namespace().to_owned(),
            wanted: namespace.to_owned(),
        });
    }
    if signature.algorithm() == (Algorithm::Rsa { hash: None }) {
        return Err(SignatureError::Weak);
    }
    let key = PublicKey::from(signature.public_key().clone());
    Ok((signature, key))
}

impl<N: AsRef<str>> Signatory<'_, N> {
    fn owns(&self, key: &PublicKey) -> Result<(), SignatureError> {
        let Self { known_hosts, names, port, made_at } = *self;
        let host = names.first().map(|name| name.as_ref().to_owned()).unwrap_or_default();
        let fingerprint = fingerprint(key.key_data());
        match known_hosts.check_signer(names, port, key, made_at) {
            HostKeyVerdict::Trusted => Ok(()),
            HostKeyVerdict::Unknown if known_hosts.has_authority(names, port) => {
                Err(SignatureError::OnlyAuthority { host, fingerprint })
            }
            HostKeyVerdict::Unknown => Err(SignatureError::NotPinned { host, fingerprint }),
            HostKeyVerdict::Revoked => Err(SignatureError::Revoked { host, fingerprint }),
            HostKeyVerdict::Changed { expected } => {
                Err(SignatureError::OtherKey { host, fingerprint, expected })
            }
        }
    }
}
