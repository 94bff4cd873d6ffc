//! Asking a host which keys it offers, without logging in: what a person compares before pinning.

use std::time::Duration;

use futures_util::future::join_all;
use russh::client::{self, Handler};
use russh::keys::{Algorithm, PublicKey, PublicKeyOrCertificate};

use crate::endpoint::{Endpoint, Timeouts};
use crate::known_hosts::fingerprint;
use crate::session::ConnectError;
use crate::session::connect::{HOST_KEY_TYPES, base_config, open_stream};

/// One key that a host can prove to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedKey {
    /// `ssh-ed25519`, say.
    pub key_type: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// `type base64`, as in known_hosts but without the host's name.
    pub line: String,
    pub key: PublicKey,
}

/// The host's keys, one connection per type, side by side.
pub async fn scan(address: &str, port: u16, limit: Duration) -> Result<Vec<OfferedKey>, ConnectError> {
    let timeouts = Timeouts { connect: limit, ..Timeouts::default() };
    let families: [fn(&Algorithm) -> bool; 3] = [
        |offered| matches!(offered, Algorithm::Ed25519),
        |offered| matches!(offered, Algorithm::Ecdsa { .. }),
        |offered| matches!(offered, Algorithm::Rsa { .. }),
    ];
    let asked = join_all(families.map(|family| {
        let types: Vec<_> = HOST_KEY_TYPES.into_iter().filter(family).collect();
        ask(address, port, types, timeouts)
    }));
    let mut offered = Vec::new();
    let mut failure = None;
    for answer in asked.await {
        match answer {
            Ok(key) => offered.extend(key),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        // A list with a hole looks like a host without that key.
        Some(error) => Err(error),
        None => Ok(offered),
    }
}

async fn ask(
    address: &str,
    port: u16,
    types: Vec<Algorithm>,
    timeouts: Timeouts,
) -> Result<Option<OfferedKey>, ConnectError> {
    let peer = peer(address, port);
    let mut config = base_config(&timeouts);
    config.preferred.key = types.into();
    let attempt = async {
        let stream = open_stream(address, port, &timeouts).await.map_err(russh::Error::IO)?;
        client::connect_stream(config.into(), stream, Look).await.map(drop)
    };
    match tokio::time::timeout(timeouts.connect, attempt).await {
        Err(_) => Err(ConnectError::Timeout {
            peer,
            seconds: timeouts.connect.as_secs(),
            during: "asking for its keys",
        }),
        Ok(Err(Seen::Key(key))) => Ok(Some(describe(&key))),
        Ok(
            Ok(()) | Err(Seen::Nothing(russh::Error::NoCommonAlgo { kind: russh::AlgorithmKind::Key, .. })),
        ) => Ok(None),
        Ok(Err(Seen::Nothing(russh::Error::IO(source)))) => Err(ConnectError::Unreachable { peer, source }),
        Ok(Err(Seen::Nothing(source))) => {
            Err(ConnectError::Protocol { peer, during: "asking for its keys", source })
        }
    }
}

fn peer(address: &str, port: u16) -> String {
    let endpoint = Endpoint { address: address.to_owned(), port, user: String::new(), known_as: Vec::new() };
    endpoint.to_string().trim_start_matches('@').to_owned()
}

fn describe(key: &PublicKey) -> OfferedKey {
    OfferedKey {
        key_type: key.algorithm().to_string(),
        fingerprint: fingerprint(key.key_data()),
        line: crate::signature::public_key_line(key),
        key: key.clone(),
    }
}

/// Ends every handshake at the moment the host has proved its key.
struct Look;

#[derive(Debug)]
enum Seen {
    Key(Box<PublicKey>),
    Nothing(russh::Error),
}

impl From<russh::Error> for Seen {
    fn from(error: russh::Error) -> Self {
        Self::Nothing(error)
    }
}

impl Handler for Look {
    type Error = Seen;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Err(Seen::Key(Box::new(shown.public_key())))
    }
}
