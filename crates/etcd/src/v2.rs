//! etcd's older store, which speaks HTTP and JSON: on a member's client URL, or on the socket of a scratch etcd.

mod backup;
mod replay;
mod restored;

pub use backup::{V2BackupError, back_up};
pub use replay::{ReplayError, Replayed, replay};
pub use restored::check as check_restored;

use std::fmt;
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
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::discover::{LocalMember, TlsFiles};
use crate::options::read_small;
use nightshift_store::offload;
use nightshift_store::pieces::Pieces;

/// The top of the tree, or the answer to a write; a listing of every key is streamed.
const LARGEST_ANSWER: usize = 1 << 20;
/// Pieces of a streamed answer that wait to be read.
const AHEAD: usize = 16;
const CANARY: &str = "/v2/keys/nightshift-canary";

#[derive(Debug, thiserror::Error)]
pub enum V2Error {
    #[error("{0:?} is no http or https URL with a host")]
    BadEndpoint(String),
    #[error("cannot read {}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the TLS material for {endpoint} cannot be used")]
    Tls { endpoint: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{endpoint} cannot be reached")]
    Unreachable { endpoint: String, source: io::Error },
    #[error("{endpoint} did not answer {path} within {} s", .after.as_secs())]
    TimedOut { endpoint: String, path: String, after: Duration },
    #[error("{endpoint} did not answer {path}")]
    Http { endpoint: String, path: String, source: hyper::Error },
    #[error("{endpoint} answered {path} with {status}: {body}")]
    Refused { endpoint: String, path: String, status: StatusCode, body: String },
    #[error("{endpoint} answered {path} with more than {LARGEST_ANSWER} bytes")]
    TooLarge { endpoint: String, path: String },
    #[error("what {endpoint} answered to {path} is no listing of v2 keys")]
    Shape { endpoint: String, path: String, source: serde_json::Error },
    #[error("the canary that was written to {endpoint} read back as {found:?}")]
    Canary { endpoint: String, found: String },
}

impl V2Error {
    /// Whether it is etcd's word on what it holds, rather than silence, or a word on how it fares.
    pub fn is_of_the_copy(&self) -> bool {
        match self {
            Self::Refused { status, .. } => !status.is_server_error(),
            Self::Canary { .. } | Self::Shape { .. } => true,
            _ => false,
        }
    }
}

/// Where v2 keys are asked for. Each question has a connection of its own.
#[derive(Clone)]
pub struct V2 {
    place: Place,
    /// For messages, and for the `Host` header.
    endpoint: String,
    patience: Duration,
}

#[derive(Clone)]
enum Place {
    Tcp { host: String, port: u16, tls: Option<Arc<ClientConfig>> },
    Socket(PathBuf),
}

impl fmt::Debug for V2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V2({})", self.endpoint)
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl V2 {
    /// The local member, with the host's own certificate.
    pub fn of_member(member: &LocalMember, patience: Duration) -> Result<Self, V2Error> {
        let endpoint = member.endpoint.clone();
        let bad = || V2Error::BadEndpoint(endpoint.clone());
        let uri: Uri = endpoint.parse().map_err(|_| bad())?;
        let host = uri.host().ok_or_else(bad)?.trim_matches(['[', ']']).to_owned();
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (Some(client_config(&endpoint, &member.tls)?), 443),
            Some("http") => (None, 80),
            _ => return Err(bad()),
        };
        let port = uri.port_u16().unwrap_or(port);
        Ok(Self { place: Place::Tcp { host, port, tls }, endpoint, patience })
    }

    /// A scratch etcd that listens on a socket.
    pub fn on_socket(path: &Path, patience: Duration) -> Self {
        Self { place: Place::Socket(path.to_owned()), endpoint: path.display().to_string(), patience }
    }

    /// Whether there is anything in the store, etcd's own hidden nodes aside. A member whose v2 API is off, as it is
    /// by default from 3.4 on, has no v2 keys that anybody can use.
    pub async fn has_keys(&self) -> Result<bool, V2Error> {
        let path = "/v2/keys/";
        let Some(body) = self.read(Method::GET, path, "").await? else { return Ok(false) };
        let answer: Answer<Top> = self.parse(path, &body)?;
        Ok(answer.node.nodes.iter().any(|node| !node.key.starts_with("/_")))
    }

    /// Reads through the log of the cluster. A member notes what is committed with the entry after it, so only then does
    /// its write-ahead log tell of every write that was answered before.
    pub async fn read_through_log(&self) -> Result<(), V2Error> {
        self.read(Method::GET, &format!("{CANARY}?quorum=true"), "").await.map(drop)
    }

    /// How many keys it holds, folders not counted. The listing is read as it streams, and not kept.
    pub async fn count_keys(&self) -> Result<u64, V2Error> {
        let path = "/v2/keys/?recursive=true";
        let (pieces, queue) = mpsc::channel(AHEAD);
        let counting = offload::run(move || {
            serde_json::from_reader::<_, Answer<Counted>>(io::BufReader::new(Pieces::new(queue)))
        });
        let (read, counted) = tokio::join!(self.stream(path, pieces), counting);
        read?;
        Ok(counted.map_err(|source| self.shape(path, source))?.node.keys)
    }

    /// Writes a key, reads it back, and removes it.
    pub async fn try_canary(&self, value: &str) -> Result<(), V2Error> {
        self.demand(Method::PUT, CANARY, &format!("value={value}")).await?;
        let found: Answer<Leaf> =
            self.parse(CANARY, &self.demand(Method::GET, &format!("{CANARY}?quorum=true"), "").await?)?;
        self.demand(Method::DELETE, CANARY, "").await?;
        if found.node.value != value {
            return Err(V2Error::Canary { endpoint: self.endpoint.clone(), found: found.node.value });
        }
        Ok(())
    }

    async fn demand(&self, method: Method, path: &str, body: &str) -> Result<Bytes, V2Error> {
        self.read(method, path, body).await?.ok_or_else(|| V2Error::Refused {
            endpoint: self.endpoint.clone(),
            path: path.to_owned(),
            status: StatusCode::NOT_FOUND,
            body: String::new(),
        })
    }

    /// A whole small answer; `None` for a 404.
    async fn read(&self, method: Method, path: &str, body: &str) -> Result<Option<Bytes>, V2Error> {
        self.exchange(method, path, body, async |mut body| {
            let mut whole = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|source| self.http(path, source))?;
                whole.extend_from_slice(frame.data_ref().map_or(&[], Bytes::as_ref));
                if whole.len() > LARGEST_ANSWER {
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
                    // Nobody reads on once the reader has found it to be no listing.
                    if pieces.send(data).await.is_err() {
                        break;
                    }
                }
                Ok(())
            })
            .await?;
        streamed.ok_or_else(|| V2Error::Refused {
            endpoint: self.endpoint.clone(),
            path: path.to_owned(),
            status: StatusCode::NOT_FOUND,
            body: String::new(),
        })
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
            let asked = async {
                let response = sender.send_request(request).await.map_err(|error| self.http(path, error))?;
                self.judge(path, response, take).await
            };
            // The connection is driven by whoever waits for the answer; it may end before that is read.
            match select(Box::pin(connection), Box::pin(asked)).await {
                Either::Left((_, asked)) => asked.await,
                Either::Right((answer, _)) => answer,
            }
        };
        timeout(self.patience, exchange).await.map_err(|_| V2Error::TimedOut {
            endpoint: self.endpoint.clone(),
            path: path.to_owned(),
            after: self.patience,
        })?
    }

    async fn judge<T>(
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
                let text = String::from_utf8_lossy(&first.unwrap_or_default()).chars().take(200).collect();
                let (endpoint, path) = (self.endpoint.clone(), path.to_owned());
                Err(V2Error::Refused { endpoint, path, status, body: text })
            }
        }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, V2Error> {
        let unreachable = |source| V2Error::Unreachable { endpoint: self.endpoint.clone(), source };
        match &self.place {
            Place::Socket(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(unreachable)?)),
            Place::Tcp { host, port, tls } => {
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
        match &self.place {
            Place::Socket(_) => "localhost".to_owned(),
            Place::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Place::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }

    fn parse<'a, T: Deserialize<'a>>(&self, path: &str, body: &'a [u8]) -> Result<T, V2Error> {
        serde_json::from_slice(body).map_err(|source| self.shape(path, source))
    }

    fn shape(&self, path: &str, source: serde_json::Error) -> V2Error {
        V2Error::Shape { endpoint: self.endpoint.clone(), path: path.to_owned(), source }
    }

    fn http(&self, path: &str, source: hyper::Error) -> V2Error {
        V2Error::Http { endpoint: self.endpoint.clone(), path: path.to_owned(), source }
    }
}

/// As for gRPC: the CA of the cluster alone, and this host's certificate where there is one.
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

#[derive(Deserialize)]
struct Answer<T> {
    node: T,
}

#[derive(Deserialize)]
struct Top {
    #[serde(default)]
    nodes: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    key: String,
}

#[derive(Deserialize)]
struct Leaf {
    value: String,
}

/// A node, with all below it, as no more than a number. What has an expiry is not counted: it is gone when a copy is
/// replayed later.
struct Counted {
    keys: u64,
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Node {
            value: Option<IgnoredAny>,
            expiration: Option<IgnoredAny>,
            #[serde(default)]
            nodes: Below,
        }
        let node = Node::deserialize(deserializer)?;
        let keys = u64::from(node.value.is_some()) + node.nodes.0;
        Ok(Self { keys: if node.expiration.is_some() { 0 } else { keys } })
    }
}

#[derive(Default)]
struct Below(u64);

impl<'de> Deserialize<'de> for Below {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sum;
        impl<'de> Visitor<'de> for Sum {
            type Value = Below;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of nodes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut nodes: A) -> Result<Below, A::Error> {
                let mut sum = 0;
                while let Some(Counted { keys }) = nodes.next_element()? {
                    sum += keys;
                }
                Ok(Below(sum))
            }
        }
        deserializer.deserialize_seq(Sum)
    }
}
