//! A client of one member: plain HTTP, or TLS with the host's own certificate. Verification is never switched off.

use std::path::Path;
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::discover::{LocalMember, TlsFiles};
use crate::message::{
    AlarmAction, AlarmMember, AlarmRequest, AlarmResponse, Empty, HashKvRequest, HashKvResponse,
    MemberListResponse, SnapshotResponse, StatusResponse,
};
use crate::options::read_small;
use crate::trouble::{ClientError, Peer};

/// What may be under way unread, so that etcd need not wait for us at each 64 KiB.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 3 << 20;
/// etcd sends 32 KiB at a time, and no other answer used here is larger than a list of members.
const LARGEST_MESSAGE: usize = 1 << 20;

/// How long the hash of a whole database may take, which is read for it.
pub const HASHING: Duration = Duration::from_secs(120);

/// A connection to one member, whose every call ends within `patience`.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    peer: Peer,
    patience: Duration,
}

impl Client {
    /// Connects and asks for the member's status once: a client certificate is refused only after the handshake.
    pub async fn connect(member: &LocalMember, patience: Duration) -> Result<Self, ClientError> {
        let peer = Peer {
            endpoint: member.endpoint.clone(),
            ca: member.tls.ca.clone().unwrap_or_default(),
            cert: member.tls.cert.clone(),
        };
        let endpoint = endpoint(&member.endpoint, &member.tls, patience)?;
        let channel = match timeout(patience, endpoint.connect()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(peer.connecting(error.into())),
            Err(_) => return Err(peer.timed_out("the connection", patience)),
        };
        let client = Self { channel, peer, patience };
        client.status().await.map_err(|error| client.peer.greeting(error))?;
        Ok(client)
    }

    pub fn endpoint(&self) -> &str {
        &self.peer.endpoint
    }

    pub async fn status(&self) -> Result<StatusResponse, ClientError> {
        self.ask("Status", "/etcdserverpb.Maintenance/Status", Empty {}).await
    }

    /// The alarms of all members. Goes through raft, so it needs a leader.
    pub async fn alarms(&self) -> Result<AlarmResponse, ClientError> {
        self.ask("Alarm", "/etcdserverpb.Maintenance/Alarm", Empty {}).await
    }

    /// Switches an alarm off, in the whole cluster.
    pub async fn disarm(&self, alarm: AlarmMember) -> Result<AlarmResponse, ClientError> {
        let AlarmMember { member_id, alarm } = alarm;
        let request = AlarmRequest { action: AlarmAction::Deactivate.into(), member_id, alarm };
        self.ask("Alarm", "/etcdserverpb.Maintenance/Alarm", request).await
    }

    /// The hash of every key and value up to a revision, 0 for the newest one. From etcd 3.3 on; reads all of them, so
    /// `patience` goes by the database's size.
    pub async fn hash_kv(&self, revision: i64, patience: Duration) -> Result<HashKvResponse, ClientError> {
        let request = HashKvRequest { revision };
        self.ask_for(patience, "HashKV", "/etcdserverpb.Maintenance/HashKV", request).await
    }

    pub async fn members(&self) -> Result<MemberListResponse, ClientError> {
        self.ask("MemberList", "/etcdserverpb.Cluster/MemberList", Empty {}).await
    }

    /// Opens the stream; what comes after is the reader's to time.
    pub async fn snapshot(&self) -> Result<Streaming<SnapshotResponse>, ClientError> {
        let call = "Snapshot";
        let open = async {
            let mut grpc = self.ready().await?;
            let path = PathAndQuery::from_static("/etcdserverpb.Maintenance/Snapshot");
            grpc.server_streaming(Request::new(Empty {}), path, ProstCodec::default()).await
        };
        let answer =
            timeout(self.patience, open).await.map_err(|_| self.peer.timed_out(call, self.patience))?;
        answer.map(tonic::Response::into_inner).map_err(|status| self.failed(call, status))
    }

    /// What a status that ended a call or a stream means.
    pub fn failed(&self, call: &'static str, status: Status) -> ClientError {
        self.peer.calling(call, status)
    }

    pub(crate) async fn ask<Q, T>(
        &self,
        call: &'static str,
        path: &'static str,
        question: Q,
    ) -> Result<T, ClientError>
    where
        Q: Message + Send + Sync + 'static,
        T: Message + Default + Send + 'static,
    {
        self.ask_for(self.patience, call, path, question).await
    }

    async fn ask_for<Q, T>(
        &self,
        patience: Duration,
        call: &'static str,
        path: &'static str,
        question: Q,
    ) -> Result<T, ClientError>
    where
        Q: Message + Send + Sync + 'static,
        T: Message + Default + Send + 'static,
    {
        let asked = async {
            let mut grpc = self.ready().await?;
            grpc.unary(Request::new(question), PathAndQuery::from_static(path), ProstCodec::default()).await
        };
        let answer = timeout(patience, asked).await.map_err(|_| self.peer.timed_out(call, patience))?;
        answer.map(tonic::Response::into_inner).map_err(|status| self.failed(call, status))
    }

    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn timed_out(&self, call: &'static str) -> ClientError {
        self.peer.timed_out(call, self.patience)
    }

    pub(crate) async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(LARGEST_MESSAGE);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        Ok(grpc)
    }
}

fn endpoint(url: &str, tls: &TlsFiles, patience: Duration) -> Result<Endpoint, ClientError> {
    let bad = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::BadEndpoint {
        endpoint: url.to_owned(),
        source,
    };
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| bad(error.into()))?;
    let host = match (endpoint.uri().scheme_str(), endpoint.uri().host()) {
        (Some("http" | "https"), Some(host)) => host.trim_matches(['[', ']']).to_owned(),
        _ => return Err(bad("it needs a scheme, http or https, and a host".into())),
    };
    let endpoint = endpoint
        .connect_timeout(patience)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(15)))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    if endpoint.uri().scheme_str() == Some("http") {
        return Ok(endpoint);
    }
    let mut config = ClientTlsConfig::new().domain_name(host).timeout(patience);
    if let Some(ca) = &tls.ca {
        config = config.ca_certificate(Certificate::from_pem(read_certificates(ca)?));
    }
    let Some((cert, key)) = tls.cert.as_ref().zip(tls.key.as_ref()) else {
        return endpoint.tls_config(config).map_err(|error| bad(error.into()));
    };
    let identity = Identity::from_pem(read_certificates(cert)?, read(key)?);
    endpoint.tls_config(config.identity(identity)).map_err(|error| ClientError::BadIdentity {
        cert: cert.clone(),
        key: key.clone(),
        source: error.into(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    read_small(path).map_err(|source| ClientError::Unreadable { path: path.to_owned(), source })
}

/// Without this check an empty bundle would read as a wrong CA.
fn read_certificates(path: &Path) -> Result<Vec<u8>, ClientError> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let pem = read(path)?;
    if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Err(ClientError::NotACertificate { path: path.to_owned() });
    }
    Ok(pem)
}
