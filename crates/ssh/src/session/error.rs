//! Why a session could not be established.

use std::io;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum ConnectError {
    #[error("{peer}: cannot connect")]
    Unreachable { peer: String, source: io::Error },
    #[error("{peer}: no response within {seconds} s ({during})")]
    Timeout { peer: String, seconds: u64, during: &'static str },
    #[error(
        "{peer}: its host key {key_type} {fingerprint} is not pinned; compare it with the fingerprint on the host's console, then pin it: nightshift trust {name}"
    )]
    HostKeyUnknown { peer: String, name: String, key_type: String, fingerprint: String },
    #[error(
        "{peer}: its host key has CHANGED to {key_type} {got} (pinned: {}); the host may have been reinstalled, or another machine answers in its place; compare the fingerprint on the host's console, then correct known_hosts",
        expected.join(", ")
    )]
    HostKeyChanged { peer: String, key_type: String, got: String, expected: Vec<String> },
    #[error("{peer}: its host key {fingerprint} is revoked in known_hosts")]
    HostKeyRevoked { peer: String, fingerprint: String },
    #[error("{peer}: its host certificate is invalid: {reason}")]
    HostCertificate { peer: String, reason: String },
    #[error(
        "{peer}: login refused for user {user} with the key {fingerprint}; check that this key is in authorized_keys there, and that its from= allows this host"
    )]
    AuthRefused { peer: String, user: String, fingerprint: String },
    #[error(
        "{peer}: the key is accepted for user {user}, but the server requires a further login method ({methods}), which no unattended login can give; allow this user with the key alone (sshd_config: Match User {user}, AuthenticationMethods publickey)"
    )]
    FurtherFactor { peer: String, user: String, methods: String },
    #[error(
        "{peer}: the server accepts this RSA key only with a SHA-1 signature; use an ed25519 key: nightshift keys init"
    )]
    OnlySha1 { peer: String },
    #[error("{peer}: the server closed the connection ({during}): {reason}")]
    Ended { peer: String, during: &'static str, reason: String },
    #[error("{peer}: SSH failed ({during})")]
    Protocol { peer: String, during: &'static str, source: russh::Error },
}

impl ConnectError {
    /// Whether a retry tonight cannot succeed: host keys and logins must be corrected by an operator.
    pub fn is_permanent(&self) -> bool {
        !matches!(
            self,
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Ended { .. } | Self::Protocol { .. }
        )
    }

    /// Whether the host's key was refused, which is a separate event in the audit trail.
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
