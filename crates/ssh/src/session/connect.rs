//! Connects and logs in. Each step has its timeout.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use russh::client::{self, AuthResult, Config, Handle};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKeyWithHashAlg};
use russh::{Preferred, SshId, cipher};
use tokio::io::join;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};

use super::ConnectError;
use super::greeting::{Greeted, Greeting};
use super::host_key::{HandshakeError, HostKeyCheck, plain};
use crate::endpoint::{Endpoint, Timeouts};
use crate::identity::Identity;
use crate::known_hosts::KnownHosts;

/// The channel's receive window in bytes. russh extends it only when half of it is used, so it is twice `READ_AHEAD`: then
/// only `READ_AHEAD` limits a download. (OpenSSH's window of 2 MiB would limit it to 70 MB/s at a round trip of 20 ms.)
const WINDOW: u32 = 48 * 1024 * 1024;

/// How many keepalives in a row may stay unanswered.
const MAX_UNANSWERED_KEEPALIVES: usize = 3;

/// The time between the attempts for two addresses of one name (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Of one name, as many addresses are tried at most.
const MAX_ADDRESSES: usize = 8;

/// The step of a connection in which the user is authenticated, for error messages.
const LOGIN: &str = "logging in";

const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

/// The types of host keys that are accepted; RSA only with SHA-2.
pub(crate) const HOST_KEY_TYPES: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// Connects and checks the host's key.
pub(super) async fn handshake(
    endpoint: &Endpoint,
    known_hosts: &KnownHosts,
    timeouts: &Timeouts,
    ended: Arc<OnceLock<String>>,
) -> Result<Handle<HostKeyCheck>, ConnectError> {
    let config = config(endpoint, known_hosts, timeouts);
    let check = HostKeyCheck::new(endpoint, known_hosts, ended);
    let attempt = async {
        let stream = open_stream(&endpoint.address, endpoint.port, timeouts)
            .await
            .map_err(|source| ConnectError::Unreachable { peer: endpoint.to_string(), source })?;
        let (reader, writer) = stream.into_split();
        let (reader, greeting) = Greeted::new(reader);
        client::connect_stream(Arc::new(config), join(reader, writer), check)
            .await
            .map_err(|error| describe(endpoint, &greeting, error))
    };
    timeout(timeouts.connect, attempt)
        .await
        .unwrap_or_else(|_| Err(timed_out(endpoint, timeouts.connect, "connecting")))
}

/// Logs in with the identity's key.
pub(super) async fn log_in(
    mut handle: Handle<HostKeyCheck>,
    endpoint: &Endpoint,
    identity: &Identity,
    timeouts: &Timeouts,
    ended: &OnceLock<String>,
) -> Result<Handle<HostKeyCheck>, ConnectError> {
    let attempt = async {
        let key = identity.key();
        let hash = if key.algorithm().is_rsa() {
            match handle.best_supported_rsa_hash().await? {
                Some(None) => return Ok(None),
                // The server does not announce its algorithms. SHA-512 is supported since OpenSSH 7.2 (2016).
                best => best.flatten().or(Some(HashAlg::Sha512)),
            }
        } else {
            None
        };
        let key = PrivateKeyWithHashAlg::new(key, hash);
        handle.authenticate_publickey(&endpoint.user, key).await.map(Some)
    };
    let peer = endpoint.to_string();
    let end_reason = |unknown: &str| ended.get().cloned().unwrap_or_else(|| unknown.to_owned());
    match timeout(timeouts.auth, attempt).await {
        Err(_) => Err(timed_out(endpoint, timeouts.auth, LOGIN)),
        Ok(Ok(Some(AuthResult::Success))) => Ok(handle),
        Ok(Ok(Some(AuthResult::Failure { remaining_methods, partial_success }))) => {
            let user = endpoint.user.clone();
            if partial_success {
                let methods = remaining_methods.iter().map(<&str>::from).collect::<Vec<_>>().join(", ");
                Err(ConnectError::FurtherFactor { peer, user, methods })
            } else if remaining_methods.is_empty() && has_ended(&mut handle).await {
                // russh reports a connection that ended during the login as a refusal that names no method.
                Err(ConnectError::Ended {
                    peer,
                    during: LOGIN,
                    reason: end_reason("the connection was closed"),
                })
            } else {
                Err(ConnectError::AuthRefused { peer, user, fingerprint: identity.fingerprint() })
            }
        }
        Ok(Ok(None)) => Err(ConnectError::OnlySha1 { peer }),
        Ok(Err(error)) => {
            Err(ConnectError::Ended { peer, during: LOGIN, reason: end_reason(&plain(&error)) })
        }
    }
}

/// Whether the connection ended; its task may need a moment for that.
async fn has_ended(handle: &mut Handle<HostKeyCheck>) -> bool {
    handle.is_closed() || timeout(Duration::from_millis(500), handle).await.is_ok()
}

/// Opens the TCP connection.
pub(crate) async fn open_stream(address: &str, port: u16, timeouts: &Timeouts) -> io::Result<TcpStream> {
    let stream = first_to_connect(lookup_host((address, port)).await?.collect()).await?;
    stream.set_nodelay(true)?;
    // Without this, a dead peer would not be noticed while this host only sends.
    let unacknowledged = u32::try_from(inactivity_timeout(timeouts).as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(&stream, unacknowledged)?;
    Ok(stream)
}

/// Tries the addresses of a name, each a moment after the one before it, and takes the first that connects (RFC 8305): one
/// address that does not respond must not use up the whole timeout. The error is that of the first address.
async fn first_to_connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts: FuturesUnordered<_> = (0..)
        .zip(addresses.into_iter().take(MAX_ADDRESSES))
        .map(|(n, address)| async move {
            sleep(ATTEMPT_DELAY * n).await;
            (n, TcpStream::connect(address).await)
        })
        .collect();
    let mut failed: Option<(u32, io::Error)> = None;
    while let Some((n, connected)) = attempts.next().await {
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) if failed.as_ref().is_none_or(|(first, _)| n < *first) => failed = Some((n, error)),
            Err(_) => {}
        }
    }
    Err(failed.map_or_else(
        || io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
        |(_, error)| error,
    ))
}

/// Longer than the keepalives need to fail, so that the keepalives end the connection if they can still be sent.
fn inactivity_timeout(timeouts: &Timeouts) -> Duration {
    timeouts.keepalive * (u32::try_from(MAX_UNANSWERED_KEEPALIVES).unwrap_or(3) + 2)
}

/// The settings common to sessions and scans.
pub(crate) fn base_config(timeouts: &Timeouts) -> Config {
    Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-nightshift_", env!("CARGO_PKG_VERSION")))),
        window_size: WINDOW,
        keepalive_interval: Some(timeouts.keepalive),
        keepalive_max: MAX_UNANSWERED_KEEPALIVES,
        // Ends a connection whose peer stopped reading, to which no keepalives can be sent.
        inactivity_timeout: Some(inactivity_timeout(timeouts)),
        nodelay: true,
        preferred: Preferred {
            key: Cow::Borrowed(&HOST_KEY_TYPES),
            cipher: Cow::Borrowed(CIPHERS),
            ..Preferred::DEFAULT
        },
        ..Config::default()
    }
}

/// As OpenSSH does, prefers the types of the pinned keys. Otherwise a host with several keys may present another one, and its
/// key would seem to have changed.
fn config(endpoint: &Endpoint, known_hosts: &KnownHosts, timeouts: &Timeouts) -> Config {
    let mut config = base_config(timeouts);
    let known = known_hosts.key_types(endpoint.names(), endpoint.port);
    let is_known = |offered: &Algorithm| known.iter().any(|known| same_type(known, offered));
    let (mut key_types, others): (Vec<_>, Vec<_>) = HOST_KEY_TYPES.into_iter().partition(is_known);
    key_types.extend(others);
    config.preferred.key = Cow::Owned(key_types);
    if known_hosts.has_authority(endpoint.names(), endpoint.port) {
        config.preferred.host_key_certificates = Cow::Borrowed(&HOST_KEY_TYPES);
    }
    config
}

/// RSA keys have one type, with any hash.
fn same_type(one: &Algorithm, other: &Algorithm) -> bool {
    one == other || matches!((one, other), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }))
}

fn timed_out(endpoint: &Endpoint, limit: Duration, during: &'static str) -> ConnectError {
    ConnectError::Timeout { peer: endpoint.to_string(), seconds: limit.as_secs(), during }
}

fn describe(endpoint: &Endpoint, greeting: &Greeting, error: HandshakeError) -> ConnectError {
    const DURING: &str = "key exchange";
    let peer = endpoint.to_string();
    match error {
        HandshakeError::HostKey(refusal) => *refusal,
        HandshakeError::Ssh(error) => match (greeting.refusal(), error) {
            (Some(reason), _) => ConnectError::Ended { peer, during: DURING, reason },
            (None, russh::Error::IO(source)) => ConnectError::Unreachable { peer, source },
            (None, ended @ (russh::Error::Disconnect | russh::Error::HUP)) => {
                ConnectError::Ended { peer, during: DURING, reason: plain(&ended) }
            }
            (None, source) => ConnectError::Protocol { peer, during: DURING, source },
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::fd::OwnedFd;

    use rustix::net::{
        AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with,
    };

    use super::*;

    /// An address that never answers: its queue of connections is full. It stays so while the sockets live.
    fn black_hole() -> (SocketAddr, Vec<OwnedFd>) {
        let socket =
            || socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
        let listener = socket();
        bind(&listener, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        listen(&listener, 0).unwrap();
        let address = SocketAddr::try_from(getsockname(&listener).unwrap()).unwrap();
        let mut sockets = vec![listener];
        for _ in 0..4 {
            let waiting = socket();
            let _ = connect(&waiting, &address);
            sockets.push(waiting);
        }
        (address, sockets)
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_costs_a_moment_and_not_the_connection() {
        let (hole, _sockets) = black_hole();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let connected = timeout(Duration::from_secs(10), first_to_connect(vec![hole, good])).await;
        assert_eq!(connected.unwrap().unwrap().peer_addr().unwrap(), good);
    }

    #[tokio::test]
    async fn where_no_address_connects_the_error_is_that_of_the_first() {
        let closed = |address: &str| SocketAddr::from((address.parse::<Ipv4Addr>().unwrap(), 1));
        let error = first_to_connect(vec![closed("127.0.0.1"), closed("127.0.0.2")]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(first_to_connect(Vec::new()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
