//! Connections to receivers, with and without TLS.

use std::fmt::Debug;
use std::path::Path;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::url::Url;
use crate::{SendError, roots};

pub trait Stream: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin> Stream for T {}

pub async fn tcp(url: &Url, default_port: u16) -> Result<TcpStream, SendError> {
    let address = (url.host.as_str(), url.port.unwrap_or(default_port));
    TcpStream::connect(address).await.map_err(SendError::Connect)
}

pub async fn tls(tcp: TcpStream, url: &Url, ca: Option<&Path>) -> Result<Box<dyn Stream>, SendError> {
    let name = ServerName::try_from(url.host.clone())
        .map_err(|_| SendError::BadUrl("its host cannot be the name in a certificate"))?;
    let connector = TlsConnector::from(roots::client_config(ca)?);
    Ok(Box::new(connector.connect(name, tcp).await.map_err(SendError::Connect)?))
}
