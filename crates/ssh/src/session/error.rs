//! Why a session could not be made.

use std::io;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum ConnectError {
    #[error("{peer} cannot be reached")]
    Unreachable { peer: String, source: io::Error },
    #[error("{peer} did not answer within {seconds} s ({during})")]
    Timeout { peer: String, seconds: u64, during: &'static str },
    #[error(
        "the host key of {peer} is not pinned: it shows {key_type} {fingerprint}; compare that with the host's own and pin it: nightshift trust {name}"
    )]
    HostKeyUnknown { peer: String, name: String, key_type: String, fingerprint: String },
    #[error(
        "the host key of {peer} has CHANGED: it shows {key_type} {got}, pinned is {}; someone may be in between, or the host was reinstalled: compare, then correct known_hosts by hand",
        expected.join(", ")
    )]
    HostKeyChanged { peer: String, key_type: String, got: String, expected: Vec<String> },
    #[error("the host key of {peer} ({fingerprint}) is revoked in known_hosts")]
    HostKeyRevoked { peer: String, fingerprint: String },
    #[error("the host certificate of {peer} does not hold: {reason}")]
    HostCertificate { peer: String, reason: String },
    #[error(
        "{peer} refused the login of {user} with the key {fingerprint}; is its line in authorized_keys, and does its from= allow this host?"
    )]
    AuthRefused { peer: String, user: String, fingerprint: String },
    #[error(
        "{peer} would take this RSA key only with a SHA-1 signature; use an ed25519 key: nightshift keys init"
    )]
    OnlySha1 { peer: String },
    #[error("{peer} ended the connection while {during}: {reason}")]
    Ended { peer: String, during: &'static str, reason: String },
    #[error("{peer} and this host cannot agree on how to speak SSH ({during})")]
    Protocol { peer: String, during: &'static str, source: russh::Error },
}

impl ConnectError {
    /// Whether trying again tonight is pointless: host keys and logins do not mend themselves.
    pub fn is_permanent(&self) -> bool {
        !matches!(
            self,
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Ended { .. } | Self::Protocol { .. }
        )
    }

    /// Whether it was the host's key that was not accepted, which is an event of its own in the audit trail.
    pub fn is_host_key(&self) -> bool {
        matches!(
            self,
            Self::HostKeyUnknown { .. }
                | Self::HostKeyChanged { .. }
                | Self::HostKeyRevoked { .. }
                | Self::HostCertificate { .. }
        )
    }
}
