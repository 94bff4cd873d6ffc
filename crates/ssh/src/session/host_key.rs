//! The one moment at which a host proves who it is.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use russh::client::{DisconnectReason, Handler};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{PublicKey, PublicKeyOrCertificate};

use super::ConnectError;
use crate::endpoint::Endpoint;
use crate::known_hosts::{CertificateVerdict, HostKeyVerdict, KnownHosts, fingerprint};

/// What russh calls back: judges the host's key, and keeps the reason for which the connection ended.
pub(crate) struct HostKeyCheck {
    endpoint: Endpoint,
    known_hosts: KnownHosts,
    ended: Arc<OnceLock<String>>,
}

/// Ends a handshake: either SSH itself failed or the host's key was not accepted.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    Ssh(russh::Error),
    HostKey(Box<ConnectError>),
}

impl From<russh::Error> for HandshakeError {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl HostKeyCheck {
    pub fn new(endpoint: &Endpoint, known_hosts: &KnownHosts, ended: Arc<OnceLock<String>>) -> Self {
        Self {
            endpoint: endpoint.clone(),
            known_hosts: known_hosts.for_host(endpoint.names(), endpoint.port),
            ended,
        }
    }

    fn judge(&self, shown: &PublicKeyOrCertificate) -> Result<(), ConnectError> {
        let names = self.endpoint.names();
        if let Some(certificate) = shown.certificate() {
            let now = SystemTime::now();
            match self.known_hosts.check_certificate(names, self.endpoint.port, certificate, now) {
                CertificateVerdict::Trusted => return Ok(()),
                CertificateVerdict::Revoked => return Err(self.revoked(certificate.public_key())),
                CertificateVerdict::Refused { reason } => {
                    return Err(ConnectError::HostCertificate { peer: self.endpoint.to_string(), reason });
                }
                // As OpenSSH does: without a trusted authority the key inside counts as if shown by itself.
                CertificateVerdict::NoAuthority => {}
            }
        }
        self.judge_key(&shown.public_key())
    }

    fn judge_key(&self, key: &PublicKey) -> Result<(), ConnectError> {
        let peer = self.endpoint.to_string();
        let shown = fingerprint(key.key_data());
        let key_type = key.algorithm().to_string();
        let names = self.endpoint.names();
        match self.known_hosts.check(names, self.endpoint.port, key) {
            HostKeyVerdict::Trusted => Ok(()),
            HostKeyVerdict::Revoked => Err(self.revoked(key.key_data())),
            HostKeyVerdict::Changed { expected } => {
                Err(ConnectError::HostKeyChanged { peer, key_type, got: shown, expected })
            }
            HostKeyVerdict::Unknown => Err(ConnectError::HostKeyUnknown {
                peer,
                name: names.first().cloned().unwrap_or_default(),
                key_type,
                fingerprint: shown,
            }),
        }
    }

    fn revoked(&self, key: &KeyData) -> ConnectError {
        ConnectError::HostKeyRevoked { peer: self.endpoint.to_string(), fingerprint: fingerprint(key) }
    }
}

impl Handler for HostKeyCheck {
    type Error = HandshakeError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        self.judge(shown).map(|()| true).map_err(|refusal| HandshakeError::HostKey(Box::new(refusal)))
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        let text = match reason {
            DisconnectReason::ReceivedDisconnect(goodbye) => format!("the peer said: {}", goodbye.message),
            DisconnectReason::Error(HandshakeError::Ssh(error)) => plain(&error),
            DisconnectReason::Error(HandshakeError::HostKey(refusal)) => refusal.to_string(),
        };
        // Only the first reason is the cause.
        let _ = self.ended.set(text);
        Ok(())
    }
}

/// The end of a connection in an operator's words.
pub(crate) fn plain(error: &russh::Error) -> String {
    match error {
        russh::Error::KeepaliveTimeout | russh::Error::InactivityTimeout => {
            "the peer left the keepalives unanswered".into()
        }
        russh::Error::Disconnect | russh::Error::HUP => "the peer closed the connection".into(),
        other => other.to_string(),
    }
}
