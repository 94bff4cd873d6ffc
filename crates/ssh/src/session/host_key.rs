//! Checks a host's key during the handshake.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use nightshift_core::text::Text;
use russh::client::{DisconnectReason, Handler};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{PublicKey, PublicKeyOrCertificate};

use super::ConnectError;
use crate::endpoint::Endpoint;
use crate::known_hosts::{CertificateVerdict, HostKeyVerdict, KnownHosts, fingerprint};

/// russh's callbacks: checks the host's key, and stores the reason why the connection ended.
pub(crate) struct HostKeyCheck {
    endpoint: Endpoint,
    known_hosts: KnownHosts,
    ended: Arc<OnceLock<String>>,
}

/// Why a handshake failed: SSH itself failed, or the host's key was refused.
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

    fn check(&self, shown: &PublicKeyOrCertificate) -> Result<(), ConnectError> {
        let names = self.endpoint.names();
        if let Some(certificate) = shown.certificate() {
            let now = SystemTime::now();
            match self.known_hosts.check_certificate(names, self.endpoint.port, certificate, now) {
                CertificateVerdict::Trusted => return Ok(()),
                CertificateVerdict::Revoked => return Err(self.revoked(certificate.public_key())),
                CertificateVerdict::Refused { reason } => {
                    return Err(ConnectError::HostCertificate { peer: self.endpoint.to_string(), reason });
                }
                // As in OpenSSH: without a trusted authority, the key in the certificate is checked like a plain key.
                CertificateVerdict::NoAuthority => {}
            }
        }
        self.check_key(&shown.public_key())
    }

    fn check_key(&self, key: &PublicKey) -> Result<(), ConnectError> {
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
                name: self.endpoint.argument(),
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
        self.check(shown).map(|()| true).map_err(|refusal| HandshakeError::HostKey(Box::new(refusal)))
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        let text = match reason {
            DisconnectReason::ReceivedDisconnect(disconnect) => {
                format!("the peer disconnected: {}", Text::new(&disconnect.message))
            }
            DisconnectReason::Error(HandshakeError::Ssh(error)) => plain(&error),
            DisconnectReason::Error(HandshakeError::HostKey(refusal)) => refusal.to_string(),
        };
        // Later reasons are consequences of the first one, so only the first is stored.
        let _ = self.ended.set(text);
        Ok(())
    }
}

/// The reason for the end of a connection, for an operator.
pub(crate) fn plain(error: &russh::Error) -> String {
    match error {
        russh::Error::KeepaliveTimeout | russh::Error::InactivityTimeout => {
            "the peer did not answer keepalives".into()
        }
        russh::Error::Disconnect | russh::Error::HUP => "the peer closed the connection".into(),
        // The only free text that a server sends before the login.
        russh::Error::SshEncoding(russh::keys::ssh_encoding::Error::CharacterEncoding) => {
            "the server sent a text that is not UTF-8; write its login banner (sshd_config: Banner) in UTF-8 or ASCII"
                .into()
        }
        other => Text::new(&other.to_string()).into(),
    }
}

#[cfg(test)]
mod tests {
    use nightshift_core::text::is_harmless;
    use russh::Disconnect;
    use russh::client::RemoteDisconnectInfo;

    use super::*;

    #[tokio::test]
    async fn the_text_of_a_disconnect_is_short_and_on_one_line() {
        let endpoint = Endpoint { address: "h".into(), port: 22, user: "u".into(), known_as: Vec::new() };
        let ended = Arc::default();
        let mut check = HostKeyCheck::new(&endpoint, &KnownHosts::parse("").unwrap(), Arc::clone(&ended));
        let disconnect = RemoteDisconnectInfo {
            reason_code: Disconnect::ByApplication,
            message: format!("go away\n\u{1b}[2J{}", "x".repeat(200_000)),
            lang_tag: String::new(),
        };
        check.disconnected(DisconnectReason::ReceivedDisconnect(disconnect)).await.unwrap();
        let text = ended.get().unwrap();
        assert!(text.starts_with("the peer disconnected: go away"), "{text}");
        assert!(text.chars().count() < 400 && text.chars().all(is_harmless), "{text}");
    }
}
