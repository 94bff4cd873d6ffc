//! A client of the v2 API: HTTP requests with JSON responses, to a member's client URL or to the socket of a scratch etcd.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use nightshift_core::chain;
use nightshift_core::text::{InvalidJson, Text};
use nightshift_store::offload;
use nightshift_store::pieces::Pieces;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time;
use tokio_rustls::TlsConnector;

use super::keys::{Directory, KeyCount, Leaf, Response};
use crate::discover::{LocalMember, TlsFiles};
use crate::small_file::read_small;
use crate::trial::fault::Fault;

/// The root directory, or the response to a write, in bytes. A list of all keys is streamed.
const MAX_RESPONSE: usize = 1 << 20;
/// The number of pieces of a streamed response that wait for the parser.
const MAX_PIECES_AHEAD: usize = 16;
const CANARY: &str = "/v2/keys/nightshift-canary";

#[derive(Debug, thiserror::Error)]
pub enum V2Error {
    #[error("{0:?} is not an http or https URL with a host")]
    BadEndpoint(String),
    #[error("cannot read {}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot use the TLS files for {endpoint}")]
    Tls { endpoint: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot connect to {endpoint}")]
    Unreachable { endpoint: String, source: io::Error },
    #[error("{endpoint} did not respond to {path} within {} s", .after.as_secs())]
    TimedOut { endpoint: String, path: String, after: Duration },
    #[error("{endpoint} did not respond to {path}")]
    Http { endpoint: String, path: String, source: hyper::Error },
    #[error("{endpoint} refused {path} with status {status}: {body}")]
    Refused { endpoint: String, path: String, status: StatusCode, body: Text },
    #[error("{endpoint} responded to {path} with more than {MAX_RESPONSE} bytes")]
    TooLarge { endpoint: String, path: String },
    #[error("{endpoint} responded to {path} with something else than v2 keys")]
    Shape { endpoint: String, path: String, source: InvalidJson },
    #[error("{endpoint} returned \"{found}\" for a key that was written with another value")]
    Canary { endpoint: String, found: Text },
}

impl V2Error {
    /// What it means for the copy that a scratch etcd was started on: a response about its content is the copy's fault; no
    /// response, or a server error, is not.
    pub fn into_fault(self) -> Fault {
        let of_copy = match &self {
            Self::Refused { status, .. } => !status.is_server_error(),
            Self::Canary { .. } | Self::Shape { .. } => true,
            _ => false,
        };
        let reason = format!("the v2 store: {}", chain(&self));
        if of_copy { Fault::Copy(reason) } else { Fault::Here(reason) }
    }
}

/// A client of one member's v2 store. Each request has its own connection.
#[derive(Debug, Clone)]
pub struct V2Client {
    address: Address,
    /// For messages.
    endpoint: String,
    timeout: Duration,
}

#[derive(Debug, Clone)]
enum Address {
    Tcp { host: String, port: u16, tls: Option<Arc<ClientConfig>> },
    Socket(PathBuf),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl V2Client {
    /// The local member, with this host's own certificate.
    pub fn of_member(member: &LocalMember, timeout: Duration) -> Result<Self, V2Error> {
        let endpoint = member.http_url.as_ref().unwrap_or(&member.endpoint).clone();
        let bad = || V2Error::BadEndpoint(endpoint.clone());
        let uri: Uri = endpoint.parse().map_err(|_| bad())?;
        let host = uri.host().ok_or_else(bad)?.trim_matches(['[', ']']).to_owned();
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (Some(client_config(&endpoint, &member.tls)?), 443),
            Some("http") => (None, 80),
            _ => return Err(bad()),
        };
        let port = uri.port_u16().unwrap_or(port);
        Ok(Self { address: Address::Tcp { host, port, tls }, endpoint, timeout })
    }

    /// A scratch etcd that listens on a socket.
    pub fn on_socket(path: &Path, timeout: Duration) -> Self {
        Self { address: Address::Socket(path.to_owned()), endpoint: path.display().to_string(), timeout }
    }

    /// Whether the store contains any node except etcd's own hidden ones. A member with the v2 API disabled, which is the default
    /// from 3.4, has no v2 keys that a client can use.
    pub async fn has_keys(&self) -> Result<bool, V2Error> {
        let path = "/v2/keys/";
        let Some(body) = self.read(Method::GET, path, "").await? else { return Ok(false) };
        let response: Response<Directory> = self.parse(path, &body)?;
        Ok(response.node.nodes.iter().any(|node| !node.key.starts_with("/_")))
    }

    /// A quorum read. A member's log records an entry as committed only with the next entry, so after this read its write-ahead
    /// log contains every write that was acknowledged before.
    pub async fn read_through_log(&self) -> Result<(), V2Error> {
        self.read(Method::GET, &format!("{CANARY}?quorum=true"), "").await.map(drop)
    }

    /// The number of keys, without directories.
    pub async fn count_keys(&self) -> Result<u64, V2Error> {
        let path = "/v2/keys/?recursive=true";
        let (pieces, queue) = mpsc::channel(MAX_PIECES_AHEAD);
        let counting = offload::run(move || {
            serde_json::from_reader::<_, Response<KeyCount>>(io::BufReader::new(Pieces::new(queue)))
        });
        let (read, counted) = tokio::join!(self.stream(path, pieces), counting);
        read?;
        Ok(counted.map_err(|source| self.shape(path, source))?.node.keys)
    }

    /// Writes, reads and deletes a key.
    pub async fn try_canary(&self, value: &str) -> Result<(), V2Error> {
        self.require(Method::PUT, CANARY, &format!("value={value}")).await?;
        let found: Response<Leaf> =
            self.parse(CANARY, &self.require(Method::GET, &format!("{CANARY}?quorum=true"), "").await?)?;
        self.require(Method::DELETE, CANARY, "").await?;
        if found.node.value != value {
            return Err(V2Error::Canary { endpoint: self.endpoint.clone(), found: found.node.value.into() });
        }
        Ok(())
    }

    async fn require(&self, method: Method, path: &str, body: &str) -> Result<Bytes, V2Error> {
        self.read(method, path, body)
            .await?
            .ok_or_else(|| self.refused(path, StatusCode::NOT_FOUND, Text::default()))
    }

    fn refused(&self, path: &str, status: StatusCode, body: Text) -> V2Error {
        V2Error::Refused { endpoint: self.endpoint.clone(), path: path.to_owned(), status, body }
    }

    /// A small response as a whole; `None` for status 404.
    async fn read(&self, method: Method, path: &str, body: &str) -> Result<Option<Bytes>, V2Error> {
        self.exchange(method, path, body, async |mut body| {
            let mut whole = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|source| self.http(path, source))?;
                whole.extend_from_slice(frame.data_ref().map_or(&[], Bytes::as_ref));
                if whole.len() > MAX_RESPONSE {
                    return Err(V2Error::TooLarge { endpoint: self.endpoint.clone(), path: path.to_owned() });
                }
            }
            Ok(Bytes::from(whole))
        })
        .await
    }

    async fn stream(&self, path: &str, pieces: mpsc::Sender<Bytes>) -> Result<(), V2Error> {
        let streamed = self
            .exchange(Method::GET, path, "", async |mut body| {
                while let Some(frame) = body.frame().await {
                    let frame = frame.map_err(|source| self.http(path, source))?;
                    let Ok(data) = frame.into_data() else { continue };
                    // The parser stops reading after a syntax error.
                    if pieces.send(data).await.is_err() {
                        break;
                    }
                }
                Ok(())
            })
            .await?;
        streamed.ok_or_else(|| self.refused(path, StatusCode::NOT_FOUND, Text::default()))
    }

    async fn exchange<T>(
        &self,
        method: Method,
        path: &str,
        body: &str,
        take: impl AsyncFnOnce(Incoming) -> Result<T, V2Error>,
    ) -> Result<Option<T>, V2Error> {
        let exchange = async {
            let stream = TokioIo::new(self.connect().await?);
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(stream).await.map_err(|e| self.http(path, e))?;
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(header::HOST, self.host())
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
                .map_err(|_| V2Error::BadEndpoint(self.endpoint.clone()))?;
            let response = async {
                let response = sender.send_request(request).await.map_err(|error| self.http(path, error))?;
                self.check_status(path, response, take).await
            };
            // The connection makes progress only while it is polled; it may end before the response is read.
            match select(Box::pin(connection), Box::pin(response)).await {
                Either::Left((_, response)) => response.await,
                Either::Right((response, _)) => response,
            }
        };
        time::timeout(self.timeout, exchange).await.map_err(|_| V2Error::TimedOut {
            endpoint: self.endpoint.clone(),
            path: path.to_owned(),
            after: self.timeout,
        })?
    }

    async fn check_status<T>(
        &self,
        path: &str,
        response: http::Response<Incoming>,
        take: impl AsyncFnOnce(Incoming) -> Result<T, V2Error>,
    ) -> Result<Option<T>, V2Error> {
        let (parts, mut body) = response.into_parts();
        match parts.status {
            status if status.is_success() => take(body).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status => {
                let first = body.frame().await.and_then(Result::ok).and_then(|frame| frame.into_data().ok());
                let text = Text::new(&String::from_utf8_lossy(&first.unwrap_or_default()));
                Err(self.refused(path, status, text))
            }
        }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, V2Error> {
        let unreachable = |source| V2Error::Unreachable { endpoint: self.endpoint.clone(), source };
        match &self.address {
            Address::Socket(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(unreachable)?)),
            Address::Tcp { host, port, tls } => {
                let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                let Some(config) = tls else { return Ok(Box::new(tcp)) };
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| V2Error::BadEndpoint(self.endpoint.clone()))?;
                let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await;
                Ok(Box::new(stream.map_err(unreachable)?))
            }
        }
    }

    fn host(&self) -> String {
        match &self.address {
            Address::Socket(_) => "localhost".to_owned(),
            Address::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }

    fn parse<'a, T: Deserialize<'a>>(&self, path: &str, body: &'a [u8]) -> Result<T, V2Error> {
        serde_json::from_slice(body).map_err(|source| self.shape(path, source))
    }

    fn shape(&self, path: &str, source: serde_json::Error) -> V2Error {
        V2Error::Shape { endpoint: self.endpoint.clone(), path: path.to_owned(), source: source.into() }
    }

    fn http(&self, path: &str, source: hyper::Error) -> V2Error {
        V2Error::Http { endpoint: self.endpoint.clone(), path: path.to_owned(), source }
    }
}

/// As for gRPC: only the cluster's CA is trusted, and this host's certificate is used if there is one.
fn client_config(endpoint: &str, files: &TlsFiles) -> Result<Arc<ClientConfig>, V2Error> {
    fn tls<E: Into<Box<dyn std::error::Error + Send + Sync>>>(endpoint: &str) -> impl Fn(E) -> V2Error + '_ {
        move |error| V2Error::Tls { endpoint: endpoint.to_owned(), source: error.into() }
    }
    let read = |path: &PathBuf| {
        read_small(path).map_err(|source| V2Error::Unreadable { path: path.clone(), source })
    };
    let certificates = |path: &PathBuf| -> Result<Vec<CertificateDer<'static>>, V2Error> {
        CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<_, _>>().map_err(tls(endpoint))
    };
    let mut roots = RootCertStore::empty();
    for certificate in files.ca.as_ref().map_or(Ok(Vec::new()), certificates)? {
        roots.add(certificate).map_err(tls(endpoint))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(tls(endpoint))?
        .with_root_certificates(roots);
    let Some((cert, key)) = files.cert.as_ref().zip(files.key.as_ref()) else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(tls(endpoint))?;
    builder.with_client_auth_cert(certificates(cert)?, key).map(Arc::new).map_err(tls(endpoint))
}
