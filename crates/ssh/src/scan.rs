//! Queries which keys a host offers, without logging in, so that an operator can compare them before pinning.

use std::time::Duration;

use futures_util::future::join_all;
use russh::client::{self, Handler};
use russh::keys::{Algorithm, PublicKey, PublicKeyOrCertificate};
use tokio::io::join;

use crate::endpoint::{Endpoint, Timeouts};
use crate::known_hosts::fingerprint;
use crate::session::ConnectError;
use crate::session::connect::{HOST_KEY_TYPES, base_config, open_stream};
use crate::session::greeting::Greeted;

/// One key of a host. If it is from a scan, the host has proved that it has the private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedKey {
    /// Such as `ssh-ed25519`.
    pub key_type: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    pub key: PublicKey,
}

/// The host's keys, with one parallel connection per key type.
pub async fn scan(address: &str, port: u16, limit: Duration) -> Result<Vec<OfferedKey>, ConnectError> {
    let timeouts = Timeouts { connect: limit, ..Timeouts::default() };
    let families: [fn(&Algorithm) -> bool; 3] = [
        |offered| matches!(offered, Algorithm::Ed25519),
        |offered| matches!(offered, Algorithm::Ecdsa { .. }),
        |offered| matches!(offered, Algorithm::Rsa { .. }),
    ];
    let queries = join_all(families.map(|family| {
        let types: Vec<_> = HOST_KEY_TYPES.into_iter().filter(family).collect();
        query(address, port, types, timeouts)
    }));
    let mut offered = Vec::new();
    let mut failure = None;
    for result in queries.await {
        match result {
            Ok(key) => offered.extend(key),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        // An incomplete list would look like a host without that key.
        Some(error) => Err(error),
        None => Ok(offered),
    }
}

async fn query(
    address: &str,
    port: u16,
    types: Vec<Algorithm>,
    timeouts: Timeouts,
) -> Result<Option<OfferedKey>, ConnectError> {
    const DURING: &str = "querying its host keys";
    let peer = peer(address, port);
    let mut config = base_config(&timeouts);
    config.preferred.key = types.into();
    let mut greeting = None;
    let attempt = async {
        let stream = open_stream(address, port, &timeouts).await.map_err(russh::Error::IO)?;
        let (reader, writer) = stream.into_split();
        let (reader, sent) = Greeted::new(reader);
        greeting = Some(sent);
        client::connect_stream(config.into(), join(reader, writer), KeyQuery).await.map(drop)
    };
    match tokio::time::timeout(timeouts.connect, attempt).await {
        Err(_) => Err(ConnectError::Timeout { peer, seconds: timeouts.connect.as_secs(), during: DURING }),
        Ok(Err(QueryEnd::Key(key))) => Ok(Some((*key).into())),
        Ok(
            Ok(())
            | Err(QueryEnd::Failed(russh::Error::NoCommonAlgo { kind: russh::AlgorithmKind::Key, .. })),
        ) => Ok(None),
        Ok(Err(QueryEnd::Failed(error))) => Err(match (greeting.and_then(|sent| sent.refusal()), error) {
            (Some(reason), _) => ConnectError::Ended { peer, during: DURING, reason },
            (None, russh::Error::IO(source)) => ConnectError::Unreachable { peer, source },
            (None, source) => ConnectError::Protocol { peer, during: DURING, source },
        }),
    }
}

fn peer(address: &str, port: u16) -> String {
    let endpoint = Endpoint { address: address.to_owned(), port, user: String::new(), known_as: Vec::new() };
    endpoint.to_string().trim_start_matches('@').to_owned()
}

impl From<PublicKey> for OfferedKey {
    fn from(key: PublicKey) -> Self {
        Self { key_type: key.algorithm().to_string(), fingerprint: fingerprint(key.key_data()), key }
    }
}

/// Ends the handshake as soon as the host has proved its key: the key is returned as the handshake's error.
struct KeyQuery;

#[derive(Debug)]
enum QueryEnd {
    Key(Box<PublicKey>),
    Failed(russh::Error),
}

impl From<russh::Error> for QueryEnd {
    fn from(error: russh::Error) -> Self {
        Self::Failed(error)
    }
}

impl Handler for KeyQuery {
    type Error = QueryEnd;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Err(QueryEnd::Key(Box::new(shown.public_key())))
    }
}
