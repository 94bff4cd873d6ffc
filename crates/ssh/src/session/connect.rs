//! Connects and logs in. Each step has its timeout.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{self, AuthResult, Config, Handle};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKeyWithHashAlg};
use russh::{Preferred, SshId, cipher};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ConnectError;
use super::host_key::{HandshakeError, HostKeyCheck, plain};
use crate::endpoint::{Endpoint, Timeouts};
use crate::identity::Identity;
use crate::known_hosts::KnownHosts;

/// The channel's receive window in bytes. russh extends it only when half of it is used, so it is twice `READ_AHEAD`: then
/// only `READ_AHEAD` limits a download. (OpenSSH's window of 2 MiB would limit it to 70 MB/s at a round trip of 20 ms.)
const WINDOW: u32 = 48 * 1024 * 1024;

/// How many keepalives in a row may stay unanswered.
const MAX_UNANSWERED_KEEPALIVES: usize = 3;

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
        client::connect_stream(Arc::new(config), stream, check)
            .await
            .map_err(|error| describe(endpoint, "key exchange", error))
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
    match timeout(timeouts.auth, attempt).await {
        Err(_) => Err(timed_out(endpoint, timeouts.auth, "logging in")),
        Ok(Ok(Some(AuthResult::Success))) => Ok(handle),
        Ok(Ok(Some(AuthResult::Failure { .. }))) => Err(ConnectError::AuthRefused {
            peer,
            user: endpoint.user.clone(),
            fingerprint: identity.fingerprint(),
        }),
        Ok(Ok(None)) => Err(ConnectError::OnlySha1 { peer }),
        Ok(Err(error)) => Err(ConnectError::Ended {
            peer,
            during: "logging in",
            reason: ended.get().cloned().unwrap_or_else(|| plain(&error)),
        }),
    }
}

/// Opens the TCP connection; it tries all addresses of the name in turn.
pub(crate) async fn open_stream(address: &str, port: u16, timeouts: &Timeouts) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((address, port)).await?;
    stream.set_nodelay(true)?;
    // Without this, a dead peer would not be noticed while this host only sends.
    let unacknowledged = u32::try_from(inactivity_timeout(timeouts).as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(&stream, unacknowledged)?;
    Ok(stream)
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

fn describe(endpoint: &Endpoint, during: &'static str, error: HandshakeError) -> ConnectError {
    let peer = endpoint.to_string();
    match error {
        HandshakeError::HostKey(refusal) => *refusal,
        HandshakeError::Ssh(russh::Error::IO(source)) => ConnectError::Unreachable { peer, source },
        HandshakeError::Ssh(ended @ (russh::Error::Disconnect | russh::Error::HUP)) => {
            ConnectError::Ended { peer, during, reason: plain(&ended) }
        }
        HandshakeError::Ssh(source) => ConnectError::Protocol { peer, during, source },
    }
}
