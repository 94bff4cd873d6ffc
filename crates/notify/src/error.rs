//! Why a notice was not sent. No variant contains a URL: it may be a secret.

use std::io;
use std::path::PathBuf;

use crate::command::ProgramError;

#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("cannot read the URL in {}", path.display())]
    ReadUrl { path: PathBuf, source: io::Error },
    #[error(
        "the unit has no credential {0}; add `LoadCredential={0}:FILE` by a drop-in for nightshift-notify@.service"
    )]
    NoCredential(String),
    #[error("the URL is invalid: {0}")]
    BadUrl(&'static str),
    #[error("the URL of an ntfy target ends in its topic, such as /alerts")]
    NoTopic,
    #[error("cannot connect to the receiver")]
    Connect(#[source] io::Error),
    #[error("cannot read the certificates of authorities in {}", path.display())]
    ReadRoots { path: PathBuf, source: io::Error },
    #[error("no certificate of an authority was found on this host; install ca-certificates, or set `ca`")]
    NoRoots,
    #[error("invalid TLS settings")]
    Tls(#[source] rustls::Error),
    #[error("the request failed")]
    Http(#[source] hyper::Error),
    #[error("the receiver did not answer within {0} s")]
    TimedOut(u64),
    #[error(
        "the receiver redirects the request ({0}), which is not followed; write the URL of the receiver itself"
    )]
    Redirected(u16),
    #[error("the receiver answered with {0}")]
    Refused(hyper::StatusCode),
    #[error("the receiver did not record the ping: {0}")]
    Ping(&'static str),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("cannot write the mail")]
    Compose(#[source] lettre::error::Error),
    #[error("invalid mail address")]
    Address(#[source] lettre::address::AddressError),
    #[error("the mail server accepted none of the recipients: {0}")]
    Recipients(String),
    #[error("the mail server did not accept the mail")]
    Smtp(#[source] lettre::transport::smtp::Error),
}
