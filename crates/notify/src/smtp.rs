//! The conversation with a mail server. lettre limits neither the length of the server's first line nor the time of the whole, so the
//! stream below limits what is read, and the conversation has a deadline.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use nightshift_core::notify::{Exception, Exceptions, reasons};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::connect::{self, Stream};
use crate::url::Url;
use crate::{SendError, roots};

/// The time for the whole conversation.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// The time for the farewell: the server has the mail already.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
/// How much a server may send, in bytes: an answer is a line or some. lettre parses all lines of an answer again at each line, so more
/// would cost much time, too.
const MAX_ANSWERS: usize = 16 << 10;
/// How much the certificates of STARTTLS add.
const MAX_CERTIFICATES: usize = 16 << 10;

pub struct Server<'a> {
    pub url: &'a Url,
    pub ca: Option<&'a Path>,
    /// The name of this host.
    pub hello: String,
}

impl Server<'_> {
    /// Sends a mail to those recipients that the server accepts. Returns the others.
    pub async fn send(
        &self,
        envelope: &Envelope,
        mail: &[u8],
        limit: Duration,
    ) -> Result<Exceptions, SendError> {
        let late = |_| SendError::TimedOut(limit.as_secs());
        let (mut connection, others) =
            timeout(limit, self.converse(envelope, mail)).await.map_err(late)??;
        // The server has the mail, whatever it answers.
        let _farewell = timeout(QUIT_TIMEOUT, connection.quit()).await;
        Ok(others)
    }

    async fn converse(
        &self,
        envelope: &Envelope,
        mail: &[u8],
    ) -> Result<(AsyncSmtpConnection, Exceptions), SendError> {
        let mut connection = self.connect().await?;
        connection.command(Mail::new(envelope.from().cloned(), Vec::new())).await.map_err(SendError::Smtp)?;
        let mut others = Exceptions::default();
        for to in envelope.to() {
            let Err(error) = connection.command(Rcpt::new(to.clone(), Vec::new())).await else { continue };
            let exception = Exception { to: to.to_string(), reason: error.to_string() };
            match error.status() {
                None => return Err(SendError::Smtp(error)),
                Some(_) if error.is_transient() => others.later.push(exception),
                Some(_) => others.refused.push(exception),
            }
        }
        if others.later.len() + others.refused.len() == envelope.to().len() {
            let reasons = reasons(others.later.iter().chain(&others.refused)).unwrap_or_default();
            return Err(SendError::Recipients(reasons));
        }
        connection.command(Data).await.map_err(SendError::Smtp)?;
        connection.message(mail).await.map_err(SendError::Smtp)?;
        Ok((connection, others))
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SendError> {
        let Self { url, ca, .. } = self;
        let (default_port, is_tls) = match url.scheme.as_str() {
            "smtps" => (465, true),
            "smtp" => (25, false),
            _ => return Err(SendError::BadUrl("it begins neither with smtp:// nor with smtps://")),
        };
        let tcp = connect::tcp(url, default_port).await?;
        let peer = tcp.peer_addr().map_err(SendError::Connect)?;
        let stream: Box<dyn Stream> = if is_tls { connect::tls(tcp, url, *ca).await? } else { Box::new(tcp) };
        // On loopback nothing leaves this host.
        let starts_tls = !is_tls && !is_loopback(&url.host);
        let left = if starts_tls { MAX_ANSWERS + MAX_CERTIFICATES } else { MAX_ANSWERS };
        let bounded = Box::new(Bounded { stream, left, peer });
        let hello = ClientId::Domain(self.hello.clone());
        let mut connection =
            AsyncSmtpConnection::connect_with_transport(bounded, &hello).await.map_err(SendError::Smtp)?;
        if starts_tls {
            connection.starttls(parameters(url, *ca)?, &hello).await.map_err(SendError::Smtp)?;
        }
        if let Some((user, password)) = url.login.clone() {
            let login = Credentials::new(user, password);
            connection.auth(DEFAULT_MECHANISMS, &login).await.map_err(SendError::Smtp)?;
        }
        Ok(connection)
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn parameters(url: &Url, ca: Option<&Path>) -> Result<TlsParameters, SendError> {
    let mut builder = TlsParameters::builder(url.host.clone()).certificate_store(CertificateStore::None);
    for certificate in roots::certificates(ca)? {
        // A system's list has certificates that rustls does not accept.
        if let Ok(certificate) = Certificate::from_der(certificate.to_vec()) {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(SendError::Smtp)
}

/// A connection that ends when the other side has sent too much.
#[derive(Debug)]
struct Bounded {
    stream: Box<dyn Stream>,
    left: usize,
    peer: SocketAddr,
}

impl AsyncTokioStream for Bounded {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "it sends too much")));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        read
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
