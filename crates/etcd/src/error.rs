//! Errors between this host and a member. Each fault of TLS has its own variant, because each needs another remedy.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nightshift_core::text::{Text, first_of};
use rustls::CertificateError;
use tonic::{Code, Status};

type Source = Box<dyn StdError + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{endpoint:?} is not an http or https URL of an etcd member")]
    BadEndpoint { endpoint: String, source: Source },
    #[error("cannot read {}, which is needed for the connection to etcd", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} contains no PEM certificate", .path.display())]
    NotACertificate { path: PathBuf },
    #[error("cannot use the client certificate {} with the key {}", .cert.display(), .key.display())]
    BadIdentity { cert: PathBuf, key: PathBuf, source: Source },
    #[error("the key {} is encrypted with a passphrase, which an unattended client cannot give; use a key without one", .path.display())]
    EncryptedKey { path: PathBuf },
    #[error(
        "the key {} is on the curve P-521, which is unsupported; issue the client certificate for a P-256, P-384, Ed25519 or RSA key",
        .path.display()
    )]
    P521Key { path: PathBuf },
    #[error("{endpoint} uses TLS, but its CA is unknown; set `ca` in [etcd]")]
    NoCa { endpoint: String },
    #[error("nothing listens at {endpoint}; is etcd running?")]
    NotListening { endpoint: String },
    #[error("cannot connect to {endpoint}")]
    Unreachable { endpoint: String, source: Source },
    #[error("{endpoint} did not respond to {call} within {} s", .after.as_secs())]
    TimedOut { endpoint: String, call: &'static str, after: Duration },
    #[error(
        "the certificate of {endpoint} has no subjectAltName (the common name does not count); issue it again with the \
         endpoint's name or address as subjectAltName"
    )]
    NoSubjectAltName { endpoint: String },
    #[error("the certificate of {endpoint} is for {}; set `endpoint` in [etcd] to one of them", first_of(.names, ", "))]
    WrongName { endpoint: String, names: Vec<Text> },
    #[error("the certificate of {endpoint} is not signed by the CA in {}; is it the CA of this cluster, and does etcd send the intermediate certificates, if there are any?", .ca.display())]
    WrongCa { endpoint: String, ca: PathBuf },
    #[error("the certificate of {endpoint} is invalid")]
    ServerCertificate { endpoint: String, source: Source },
    #[error(
        "{endpoint} refuses the client certificate {}; it must be signed by the CA that etcd trusts, must not be expired, and \
         must be allowed for client authentication", .cert.display()
    )]
    ClientCertificateRefused { endpoint: String, cert: PathBuf, source: Source },
    #[error("{endpoint} requires a client certificate; set `cert` and `key` in [etcd]")]
    ClientCertificateDemanded { endpoint: String, source: Source },
    #[error(
        "{endpoint} closed the connection right after the TLS handshake, as etcd does if it {}",
        match .cert {
            Some(cert) => format!("refuses the client certificate ({})", cert.display()),
            None => "requires a client certificate; set `cert` and `key` in [etcd]".to_owned(),
        }
    )]
    Closed { endpoint: String, cert: Option<PathBuf>, source: Source },
    #[error("{endpoint} does not use TLS; is it an http:// endpoint?")]
    NotTls { endpoint: String },
    #[error(
        "{endpoint} closed the connection during the TLS handshake; is it an http:// endpoint, or does it refuse the client \
         certificate?"
    )]
    ClosedInHandshake { endpoint: String, source: Source },
    #[error(
        "{endpoint} and nightshift have no TLS version, cipher or signature in common; certificates with keys on the curve P-521, as \
         `etcd --auto-tls` creates them, are unsupported: use P-256, P-384, Ed25519 or RSA"
    )]
    NothingInCommon { endpoint: String, source: Source },
    #[error("the TLS handshake with {endpoint} failed")]
    Handshake { endpoint: String, source: Source },
    #[error(
        "{endpoint} refused {call}: authentication is enabled, so the common name of the client certificate must be a user \
         with the role root: {message}"
    )]
    NotAuthorised { endpoint: String, call: &'static str, message: Text },
    #[error("{endpoint} refused {call}: {message} ({code:?})")]
    Refused { endpoint: String, call: &'static str, code: Code, message: Text },
    #[error("the connection to {endpoint} was lost during {call}")]
    Lost { endpoint: String, call: &'static str, source: Source },
}

impl ClientError {
    /// Whether the member's version does not know the request.
    pub fn is_unimplemented(&self) -> bool {
        matches!(self, Self::Refused { code: Code::Unimplemented, .. })
    }

    /// Whether the member does not know what the request names.
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: Code::NotFound, .. })
    }

    /// Whether the same request may succeed a moment later: a leader was being elected, or the member was busy.
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Refused { code, .. } => {
                matches!(
                    code,
                    Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted
                )
            }
            Self::TimedOut { .. } | Self::Lost { .. } | Self::NotListening { .. } => true,
            _ => false,
        }
    }
}

/// What an error may have to name: the endpoint, and the files that were used.
#[derive(Debug, Clone)]
pub struct Peer {
    pub endpoint: String,
    /// Where the endpoint is from; see [`LocalMember::origin`](crate::discover::LocalMember::origin).
    pub origin: String,
    pub ca: PathBuf,
    pub cert: Option<PathBuf>,
}

impl Peer {
    fn named(&self) -> String {
        format!("{}{}", self.endpoint, self.origin)
    }

    pub fn timed_out(&self, call: &'static str, after: Duration) -> ClientError {
        ClientError::TimedOut { endpoint: self.named(), call, after }
    }

    /// The error of a failed connection.
    pub fn connecting(&self, error: Source) -> ClientError {
        let endpoint = self.named();
        let closed = |layer: &(dyn StdError + 'static)| {
            let kind = layer.downcast_ref::<io::Error>().map(io::Error::kind);
            matches!(
                kind,
                Some(
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
                )
            )
        };
        match self.transport(error.as_ref()) {
            Some(known) => known,
            None if endpoint.starts_with("https:") && layers(error.as_ref()).any(closed) => {
                ClientError::ClosedInHandshake { endpoint, source: error }
            }
            None => ClientError::Unreachable { endpoint, source: error },
        }
    }

    /// The error of the first request. With TLS 1.3 the server checks the client certificate after the client has finished the
    /// handshake, and it is not defined whether the client sees the alert or the closed connection first.
    pub fn first_request(&self, error: ClientError) -> ClientError {
        match error {
            ClientError::Lost { endpoint, source, .. } if endpoint.starts_with("https:") => {
                ClientError::Closed { endpoint, cert: self.cert.clone(), source }
            }
            error => error,
        }
    }

    /// The error of a request: etcd's response, or a lost connection.
    pub fn calling(&self, call: &'static str, status: Status) -> ClientError {
        let endpoint = self.named();
        if status.source().is_some() {
            return match self.transport(&status) {
                Some(error) => error,
                None => ClientError::Lost { endpoint, call, source: status.into() },
            };
        }
        let message = Text::new(status.message());
        // The code that comes with this depends on etcd's version.
        let nameless = message.contains("user name is empty");
        if nameless || matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated) {
            return ClientError::NotAuthorised { endpoint, call, message };
        }
        ClientError::Refused { endpoint, call, code: status.code(), message }
    }

    /// Searches the layers for an error of TLS or of the kernel.
    fn transport(&self, error: &(dyn StdError + 'static)) -> Option<ClientError> {
        let endpoint = self.named();
        for layer in layers(error) {
            if let Some(tls) = layer.downcast_ref::<rustls::Error>() {
                return Some(self.tls(tls));
            }
            // A client certificate is refused after the handshake, and h2 keeps only the text of that error.
            if layer.to_string().contains("received fatal alert") {
                return Some(self.alert(layer.to_string().into()));
            }
            let io = layer.downcast_ref::<io::Error>().map(io::Error::kind);
            if io == Some(io::ErrorKind::ConnectionRefused) {
                return Some(ClientError::NotListening { endpoint });
            }
        }
        None
    }

    fn tls(&self, error: &rustls::Error) -> ClientError {
        let endpoint = self.named();
        let source = || Source::from(error.clone());
        match error {
            rustls::Error::InvalidCertificate(certificate) => match certificate {
                CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                    ClientError::WrongName {
                        endpoint,
                        names: presented.iter().map(|name| plain(name)).collect(),
                    }
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    ClientError::NoSubjectAltName { endpoint }
                }
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    ClientError::WrongCa { endpoint, ca: self.ca.clone() }
                }
                _ => ClientError::ServerCertificate { endpoint, source: source() },
            },
            rustls::Error::AlertReceived(_) => self.alert(source()),
            rustls::Error::InvalidMessage(_) => ClientError::NotTls { endpoint },
            _ => ClientError::Handshake { endpoint, source: source() },
        }
    }

    /// The other alerts of a server are nearly always about the client certificate.
    fn alert(&self, source: Source) -> ClientError {
        let endpoint = self.named();
        let text = source.to_string();
        if ["HandshakeFailure", "ProtocolVersion", "InsufficientSecurity"]
            .iter()
            .any(|alert| text.contains(alert))
        {
            return ClientError::NothingInCommon { endpoint, source };
        }
        match &self.cert {
            Some(cert) => ClientError::ClientCertificateRefused { endpoint, cert: cert.clone(), source },
            None => ClientError::ClientCertificateDemanded { endpoint, source },
        }
    }
}

/// A name of a certificate without rustls's notation: `DnsName("x")` and `IpAddress(10.0.0.1)`.
fn plain(name: &str) -> Text {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').into()
}

/// An error and its causes. The chain of an `io::Error` does not include the error that it wraps.
fn layers<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

#[cfg(test)]
mod tests {
    use nightshift_core::chain;
    use nightshift_core::text::is_harmless;

    use super::*;

    #[test]
    fn the_texts_of_a_member_and_of_its_certificate_are_short_and_on_one_line() {
        let endpoint = "https://e1:2379".to_owned();
        let peer = Peer { endpoint, origin: String::new(), ca: PathBuf::new(), cert: None };
        let hostile = format!("no\n\u{1b}[2J{}", "x".repeat(1 << 20));
        let presented: Vec<String> = (0..1000).map(|n| format!("DnsName(\"{n}.{hostile:.400}\")")).collect();
        let context = CertificateError::NotValidForNameContext {
            expected: rustls::pki_types::ServerName::try_from("e1").unwrap(),
            presented,
        };
        for error in [
            peer.calling("Status", Status::new(Code::Internal, &hostile)),
            peer.calling("Status", Status::new(Code::PermissionDenied, &hostile)),
            peer.tls(&rustls::Error::InvalidCertificate(context)),
        ] {
            let text = error.to_string();
            assert!(text.chars().count() < 2_000 && text.chars().all(is_harmless), "{text}");
            assert_eq!(chain(&error), text);
        }
    }
}
