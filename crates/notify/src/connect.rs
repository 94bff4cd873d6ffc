//! Connections to receivers, with and without TLS.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::url::Url;
use crate::{SendError, roots};

pub trait Stream: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin> Stream for T {}

/// The time for one address: a name may have several, of which only some have a route, such as IPv6 and IPv4.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How many of them are tried.
const MAX_ADDRESSES: usize = 4;

pub async fn tcp(url: &Url, default_port: u16) -> Result<TcpStream, SendError> {
    let name = (url.host.as_str(), url.port.unwrap_or(default_port));
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in lookup_host(name).await.map_err(SendError::Connect)?.take(MAX_ADDRESSES) {
        let late = |_| {
            let text =
                format!("{} does not accept a connection within {} s", address.ip(), TIMEOUT.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        };
        match timeout(TIMEOUT, TcpStream::connect(address)).await.unwrap_or_else(late) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(SendError::Connect(failure))
}

pub async fn tls(tcp: TcpStream, url: &Url, ca: Option<&Path>) -> Result<Box<dyn Stream>, SendError> {
    let name = ServerName::try_from(url.host.clone())
        .map_err(|_| SendError::BadUrl("its host cannot be the name in a certificate"))?;
    let connector = TlsConnector::from(roots::client_config(ca)?);
    Ok(Box::new(connector.connect(name, tcp).await.map_err(SendError::Connect)?))
}
