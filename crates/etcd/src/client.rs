//! A client of one member: plain HTTP, or TLS with this host's own certificate. Certificates are always verified.

use std::future::{Ready, ready};
use std::io;
use std::path::Path;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time;
use tonic::client::Grpc;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::discover::{LocalMember, TlsFiles};
use crate::error::{ClientError, Peer};
use crate::message::{
    AlarmAction, AlarmMember, AlarmRequest, AlarmResponse, Empty, HashKvRequest, HashKvResponse,
    MemberListResponse, SnapshotResponse, StatusResponse,
};
use crate::small_file::read_small;

/// The flow-control windows, in bytes: large enough that etcd need not wait for us after each 64 KiB.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 3 << 20;
/// In bytes. etcd sends snapshots in messages of 32 KiB, and no other response used here is larger than a member list.
const MAX_MESSAGE: usize = 1 << 20;

/// The object identifier of the curve P-521, 1.3.132.0.35 (RFC 5480, section 2.1.1.1), in DER.
const SECP521R1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];

/// The timeout of HashKV, which reads the whole database.
pub const HASH_TIMEOUT: Duration = Duration::from_secs(120);

/// A connection to one member. Each request ends within `timeout`.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    peer: Peer,
    timeout: Duration,
}

impl Client {
    /// Connects, and requests the member's status once: a client certificate is refused only after the handshake.
    pub async fn connect(member: &LocalMember, timeout: Duration) -> Result<Self, ClientError> {
        let endpoint = endpoint(&member.endpoint, &member.tls, timeout)?;
        Self::with(member, timeout, endpoint.connect()).await
    }

    async fn with(
        member: &LocalMember,
        timeout: Duration,
        connecting: impl Future<Output = Result<Channel, tonic::transport::Error>>,
    ) -> Result<Self, ClientError> {
        let peer = Peer {
            endpoint: member.endpoint.clone(),
            origin: member.origin.clone(),
            ca: member.tls.ca.clone().unwrap_or_default(),
            cert: member.tls.cert.clone(),
        };
        let channel = match time::timeout(timeout, connecting).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(peer.connecting(error.into())),
            Err(_) => return Err(peer.timed_out("the connection", timeout)),
        };
        let client = Self { channel, peer, timeout };
        client.status().await.map_err(|error| client.peer.first_request(error))?;
        Ok(client)
    }

    /// As [`Client::connect`], over streams that `dial` opens to the member, such as those of a program that forwards them.
    pub async fn connect_by<S>(
        member: &LocalMember,
        timeout: Duration,
        dial: impl Fn() -> io::Result<S> + Send + 'static,
    ) -> Result<Self, ClientError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let endpoint = endpoint(&member.endpoint, &member.tls, timeout)?;
        Self::with(member, timeout, endpoint.connect_with_connector(Dialer(dial))).await
    }

    pub fn endpoint(&self) -> &str {
        &self.peer.endpoint
    }

    pub async fn status(&self) -> Result<StatusResponse, ClientError> {
        self.request("Status", "/etcdserverpb.Maintenance/Status", Empty {}).await
    }

    /// The alarms of all members. The request needs a leader, because it goes through raft.
    pub async fn alarms(&self) -> Result<AlarmResponse, ClientError> {
        self.request("Alarm", "/etcdserverpb.Maintenance/Alarm", Empty {}).await
    }

    /// Disarms an alarm in the whole cluster.
    pub async fn disarm(&self, alarm: AlarmMember) -> Result<AlarmResponse, ClientError> {
        let AlarmMember { member_id, alarm } = alarm;
        let request = AlarmRequest { action: AlarmAction::Deactivate.into(), member_id, alarm };
        self.request("Alarm", "/etcdserverpb.Maintenance/Alarm", request).await
    }

    /// The hash of every key and value up to a revision; 0 is the newest one. From etcd 3.3. It reads the whole database, so it
    /// has a timeout of its own.
    pub async fn hash_kv(&self, revision: i64, timeout: Duration) -> Result<HashKvResponse, ClientError> {
        let request = HashKvRequest { revision };
        self.request_within(timeout, "HashKV", "/etcdserverpb.Maintenance/HashKV", request).await
    }

    pub async fn members(&self) -> Result<MemberListResponse, ClientError> {
        self.request("MemberList", "/etcdserverpb.Cluster/MemberList", Empty {}).await
    }

    /// Opens the stream. Its messages have no timeout here.
    pub async fn snapshot(&self) -> Result<Streaming<SnapshotResponse>, ClientError> {
        let call = "Snapshot";
        let open = async {
            let mut grpc = self.ready().await?;
            let path = PathAndQuery::from_static("/etcdserverpb.Maintenance/Snapshot");
            grpc.server_streaming(Request::new(Empty {}), path, ProstCodec::default()).await
        };
        let response = time::timeout(self.timeout, open).await.map_err(|_| self.timed_out(call))?;
        response.map(tonic::Response::into_inner).map_err(|status| self.failed(call, status))
    }

    /// The error of a failed request or stream.
    pub fn failed(&self, call: &'static str, status: Status) -> ClientError {
        self.peer.calling(call, status)
    }

    pub(crate) async fn request<Q, T>(
        &self,
        call: &'static str,
        path: &'static str,
        message: Q,
    ) -> Result<T, ClientError>
    where
        Q: Message + Send + Sync + 'static,
        T: Message + Default + Send + 'static,
    {
        self.request_within(self.timeout, call, path, message).await
    }

    async fn request_within<Q, T>(
        &self,
        timeout: Duration,
        call: &'static str,
        path: &'static str,
        message: Q,
    ) -> Result<T, ClientError>
    where
        Q: Message + Send + Sync + 'static,
        T: Message + Default + Send + 'static,
    {
        let requested = async {
            let mut grpc = self.ready().await?;
            grpc.unary(Request::new(message), PathAndQuery::from_static(path), ProstCodec::default()).await
        };
        let response =
            time::timeout(timeout, requested).await.map_err(|_| self.peer.timed_out(call, timeout))?;
        response.map(tonic::Response::into_inner).map_err(|status| self.failed(call, status))
    }

    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The error of a request that did not end in time.
    pub fn timed_out(&self, call: &'static str) -> ClientError {
        self.peer.timed_out(call, self.timeout)
    }

    pub(crate) async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        Ok(grpc)
    }
}

/// Opens the connections of a channel.
struct Dialer<D>(D);

impl<D, S> Service<Uri> for Dialer<D>
where
    D: Fn() -> io::Result<S>,
    S: AsyncRead + AsyncWrite,
{
    type Response = TokioIo<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<S>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready((self.0)().map(TokioIo::new))
    }
}

fn endpoint(url: &str, tls: &TlsFiles, timeout: Duration) -> Result<Endpoint, ClientError> {
    let bad = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::BadEndpoint {
        endpoint: url.to_owned(),
        source,
    };
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| bad(error.into()))?;
    let host = match (endpoint.uri().scheme_str(), endpoint.uri().host()) {
        (Some("http" | "https"), Some(host)) => host.trim_matches(['[', ']']).to_owned(),
        _ => return Err(bad("it must have a scheme, http or https, and a host".into())),
    };
    let endpoint = endpoint
        .connect_timeout(timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(15)))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    if endpoint.uri().scheme_str() == Some("http") {
        return Ok(endpoint);
    }
    let Some(ca) = &tls.ca else { return Err(ClientError::NoCa { endpoint: url.to_owned() }) };
    let config = ClientTlsConfig::new().domain_name(host).timeout(timeout);
    let config = config.ca_certificate(Certificate::from_pem(read_certificates(ca)?));
    let Some((cert, key)) = tls.cert.as_ref().zip(tls.key.as_ref()) else {
        return endpoint.tls_config(config).map_err(|error| bad(error.into()));
    };
    let identity = Identity::from_pem(read_certificates(cert)?, read_key(key)?);
    endpoint.tls_config(config.identity(identity)).map_err(|error| ClientError::BadIdentity {
        cert: cert.clone(),
        key: key.clone(),
        source: error.into(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    read_small(path).map_err(|source| ClientError::Unreadable { path: path.to_owned(), source })
}

/// Reads a private key. The TLS library's errors do not say why it cannot use one.
fn read_key(path: &Path) -> Result<Vec<u8>, ClientError> {
    let pem = read(path)?;
    let text = String::from_utf8_lossy(&pem);
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(ClientError::EncryptedKey { path: path.to_owned() });
    }
    let der = PrivateKeyDer::from_pem_slice(&pem);
    if der.is_ok_and(|der| der.secret_der().windows(SECP521R1.len()).any(|window| window == SECP521R1)) {
        return Err(ClientError::P521Key { path: path.to_owned() });
    }
    Ok(pem)
}

/// Without this check an empty bundle would be reported as a wrong CA.
fn read_certificates(path: &Path) -> Result<Vec<u8>, ClientError> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let pem = read(path)?;
    if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Err(ClientError::NotACertificate { path: path.to_owned() });
    }
    Ok(pem)
}
