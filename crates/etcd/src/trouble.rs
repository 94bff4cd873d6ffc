//! What can go wrong between here and the member, each with its own words: TLS above all.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustls::CertificateError;
use tonic::{Code, Status};

type Source = Box<dyn StdError + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{endpoint:?} is no http or https URL of an etcd member")]
    BadEndpoint { endpoint: String, source: Source },
    #[error("cannot read {}, which the connection to etcd needs", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} holds no certificate in PEM", .path.display())]
    NotACertificate { path: PathBuf },
    #[error("the client certificate {} and key {} cannot be used", .cert.display(), .key.display())]
    BadIdentity { cert: PathBuf, key: PathBuf, source: Source },
    #[error("nothing listens at {endpoint}: is etcd running here?")]
    Refused { endpoint: String },
    #[error("{endpoint} cannot be reached")]
    Unreachable { endpoint: String, source: Source },
    #[error("{endpoint} did not answer {call} within {} s", .after.as_secs())]
    TimedOut { endpoint: String, call: &'static str, after: Duration },
    #[error(
        "the certificate of {endpoint} has no subjectAltName, which names a server nowadays (the common name \
         does not count): issue it again with the endpoint's name or address as subjectAltName"
    )]
    NoSubjectAltName { endpoint: String },
    #[error("the certificate of {endpoint} is for {}: set `endpoint` in [etcd] to one of them", .names.join(", "))]
    WrongName { endpoint: String, names: Vec<String> },
    #[error("the certificate of {endpoint} is not signed by the CA in {}: is it the CA of this cluster?", .ca.display())]
    WrongCa { endpoint: String, ca: PathBuf },
    #[error("the certificate of {endpoint} is not good")]
    ServerCertificate { endpoint: String, source: Source },
    #[error(
        "{endpoint} refuses the client certificate {}: it must be signed by the CA that etcd trusts, \
         be in date and allowed for client authentication", .cert.display()
    )]
    ClientCertificateRefused { endpoint: String, cert: PathBuf, source: Source },
    #[error("{endpoint} demands a client certificate: set `cert` and `key` in [etcd]")]
    ClientCertificateDemanded { endpoint: String, source: Source },
    #[error(
        "{endpoint} hung up right after the TLS handshake, as etcd does when it {}",
        match .cert {
            Some(cert) => format!("refuses the client certificate ({})", cert.display()),
            None => "demands a client certificate: set `cert` and `key` in [etcd]".to_owned(),
        }
    )]
    HungUp { endpoint: String, cert: Option<PathBuf>, source: Source },
    #[error("{endpoint} does not speak TLS: is it an http:// endpoint?")]
    NotTls { endpoint: String },
    #[error(
        "{endpoint} hung up in the TLS handshake without a word: is it an http:// endpoint, \
         or does it refuse the client certificate?"
    )]
    HungUpInHandshake { endpoint: String, source: Source },
    #[error("the TLS handshake with {endpoint} failed")]
    Handshake { endpoint: String, source: Source },
    #[error(
        "{endpoint} refused {call}: authentication is on, and a snapshot needs the role root \
         (the client certificate's common name must be a user with it): {message}"
    )]
    NotAuthorised { endpoint: String, call: &'static str, message: String },
    #[error("{endpoint} refused {call}: {message} ({code:?})")]
    Answered { endpoint: String, call: &'static str, code: Code, message: String },
    #[error("the connection to {endpoint} was lost in {call}")]
    Lost { endpoint: String, call: &'static str, source: Source },
}

/// Who was talked to, about what, with what: all that an error may have to name.
#[derive(Debug, Clone)]
pub struct Peer {
    pub endpoint: String,
    pub ca: PathBuf,
    pub cert: Option<PathBuf>,
}

impl Peer {
    pub fn timed_out(&self, call: &'static str, after: Duration) -> ClientError {
        ClientError::TimedOut { endpoint: self.endpoint.clone(), call, after }
    }

    /// Why no connection came about.
    pub fn connecting(&self, error: Source) -> ClientError {
        let endpoint = self.endpoint.clone();
        let hung_up = |layer: &(dyn StdError + 'static)| {
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
            None if endpoint.starts_with("https:") && layers(error.as_ref()).any(hung_up) => {
                ClientError::HungUpInHandshake { endpoint, source: error }
            }
            None => ClientError::Unreachable { endpoint, source: error },
        }
    }

    /// Why the first call failed. Under TLS 1.3 a client's certificate is judged when the client is done with the
    /// handshake, and whether the alert is read before the hang-up is noticed is a matter of luck.
    pub fn greeting(&self, error: ClientError) -> ClientError {
        match error {
            ClientError::Lost { endpoint, source, .. } if endpoint.starts_with("https:") => {
                ClientError::HungUp { endpoint, cert: self.cert.clone(), source }
            }
            error => error,
        }
    }

    /// Why a call failed: etcd's own answer, or the connection's end.
    pub fn calling(&self, call: &'static str, status: Status) -> ClientError {
        let endpoint = self.endpoint.clone();
        if status.source().is_some() {
            return match self.transport(&status) {
                Some(error) => error,
                None => ClientError::Lost { endpoint, call, source: status.into() },
            };
        }
        let message = status.message().to_owned();
        // Said with one code or another, as the version goes.
        let nameless = message.contains("user name is empty");
        if nameless || matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated) {
            return ClientError::NotAuthorised { endpoint, call, message };
        }
        ClientError::Answered { endpoint, call, code: status.code(), message }
    }

    /// Looks through the layers for what TLS or the kernel said.
    fn transport(&self, error: &(dyn StdError + 'static)) -> Option<ClientError> {
        let endpoint = self.endpoint.clone();
        for layer in layers(error) {
            if let Some(tls) = layer.downcast_ref::<rustls::Error>() {
                return Some(self.tls(tls));
            }
            // A client certificate is refused after the handshake, where h2 keeps no more of it than its words.
            if layer.to_string().contains("received fatal alert") {
                return Some(self.alert(layer.to_string().into()));
            }
            let io = layer.downcast_ref::<io::Error>().map(io::Error::kind);
            if io == Some(io::ErrorKind::ConnectionRefused) {
                return Some(ClientError::Refused { endpoint });
            }
        }
        None
    }

    fn tls(&self, error: &rustls::Error) -> ClientError {
        let endpoint = self.endpoint.clone();
        let source = || Source::from(error.clone());
        match error {
            rustls::Error::InvalidCertificate(certificate) => match certificate {
                CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                    ClientError::WrongName { endpoint, names: presented.clone() }
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

    /// The alerts that a server sends are nearly always about the client's certificate.
    fn alert(&self, source: Source) -> ClientError {
        let endpoint = self.endpoint.clone();
        match &self.cert {
            Some(cert) => ClientError::ClientCertificateRefused { endpoint, cert: cert.clone(), source },
            None => ClientError::ClientCertificateDemanded { endpoint, source },
        }
    }
}

/// An error and all that is inside it. An `io::Error` hides what it wraps from its own chain.
fn layers<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    })
}
