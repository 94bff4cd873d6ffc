//! The restored etcd: a scratch etcd on loopback, with its client.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use nightshift_core::chain;
use tonic::Code;

use super::etcd::{Etcd, Listen, Start};
use super::fault::{Fault, Here as _};
use super::root_access::RootAccess;
use super::scratch::Scratch;
use super::tools::Tools;
use crate::client::Client;
use crate::discover::LocalMember;
use crate::error::ClientError;

/// The timeout of one request: etcd itself gives up on a write after 7 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Another process may take a free port before etcd binds it.
const MAX_TRIES: usize = 3;

#[derive(Debug)]
pub struct Server {
    /// Dropped first.
    pub(crate) etcd: Etcd,
    pub client: Client,
    /// How it is reached, with a certificate of the user `root`.
    pub member: LocalMember,
}

impl Server {
    /// Starts etcd on a data directory, and waits until it is its own leader.
    pub async fn start(tools: &Tools, scratch: &Scratch, start: Start<'_>) -> Result<Self, Fault> {
        let access = RootAccess::create(scratch)?;
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::try_start(tools, scratch, start, &access).await {
                Err(Fault::Copy(reason)) if reason.contains("address already in use") => {
                    if tries == MAX_TRIES {
                        return Err(Fault::Here(reason));
                    }
                }
                other => return other,
            }
        }
    }

    async fn try_start(
        tools: &Tools,
        scratch: &Scratch,
        start: Start<'_>,
        access: &RootAccess,
    ) -> Result<Self, Fault> {
        let ports = free_ports()
            .here(|| "this host has no usable loopback network for a restored etcd".to_owned())?;
        let [client_url, peer_url] = ports.map(|port| format!("https://127.0.0.1:{port}"));
        let (endpoint, tls) = (client_url.clone(), access.client());
        let member = LocalMember { endpoint, tls, ..LocalMember::default() };
        let listen = Listen::Loopback { client_url, peer_url, flags: access.flags() };
        let mut etcd = Etcd::start(tools.launch, &tools.etcd.path, scratch, start, &listen)?;
        loop {
            if let Some(fault) = etcd.ended() {
                return Err(fault);
            }
            if let Ok(client) = Client::connect(&member, REQUEST_TIMEOUT).await
                && client.status().await.is_ok_and(|status| status.leader != 0)
            {
                return Ok(Self { etcd, client, member });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// What a failed request means for the copy.
pub fn refused(server: &mut Server, error: &ClientError) -> Fault {
    if let Some(fault) = server.etcd.ended() {
        return fault;
    }
    let reason = chain(error);
    match error {
        ClientError::NotAuthorised { .. } => Fault::Here(
            "authentication is enabled in the copy, and its user root may not read or write keys".to_owned(),
        ),
        ClientError::Refused { code, message, .. } if !is_of_this_host(*code, message) => {
            Fault::Copy(format!("the restored etcd refused a request: {reason}"))
        }
        _ => Fault::Here(format!("the restored etcd does not respond: {reason}")),
    }
}

/// Whether a refusal is that of a host that is too slow or too small: docs/facts/etcd.md#members.
fn is_of_this_host(code: Code, message: &str) -> bool {
    let of_code = matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted);
    // The code that comes with these depends on etcd's version.
    let slow = ["request timed out", "leader changed", "too many requests"];
    of_code || slow.iter().any(|words| message.contains(words))
}

fn free_ports() -> std::io::Result<[u16; 2]> {
    // Both are bound at the same time, so that they differ.
    let (one, other) = (TcpListener::bind(("127.0.0.1", 0))?, TcpListener::bind(("127.0.0.1", 0))?);
    // In a container without the right to bring up the loopback of its own network, bind works and connect does not.
    TcpStream::connect_timeout(&one.local_addr()?, REQUEST_TIMEOUT)?;
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}
