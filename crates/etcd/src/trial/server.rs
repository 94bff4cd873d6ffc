//! The scratch etcd: on loopback, with ports and a data dir of its own.

use std::ffi::OsString;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::child::Child;
use super::fault::{Fault, Here as _};
use super::restore::{NAME, judge, last_words};
use super::root_access::RootAccess;
use super::scratch::Scratch;
use super::tools::{Tools, Version};
use tonic::Code;

use crate::client::Client;
use crate::discover::LocalMember;
use crate::trouble::ClientError;

/// Each call ends within this: etcd itself gives up on a write after 7 s.
const PATIENCE: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(50);
/// Ports that were free when they were chosen may be taken by the time etcd binds them.
const TRIES: usize = 3;
/// etcd refuses writes to a database beyond its quota, which by default is 2 GiB: no fault of the copy.
const LEAST_QUOTA: u64 = 8 << 30;

pub struct Server {
    /// Dropped first.
    child: Child,
    pub client: Client,
    /// How it is reached.
    pub member: LocalMember,
    log: PathBuf,
}

/// What etcd has to be told of what it is started on.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    pub data: &'a Path,
    /// In bytes.
    pub db_size: u64,
    pub origin: Origin,
}

/// Where a data dir comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was restored as a member alone.
    Restored,
    /// It is one of a cluster whose others are gone.
    ForceNewCluster,
}

impl Server {
    /// Starts etcd on a data dir and waits until it leads itself.
    pub async fn start(tools: &Tools, scratch: &Scratch, start: Start<'_>) -> Result<Self, Fault> {
        let access = RootAccess::make(scratch)?;
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::try_start(tools, scratch, start, &access).await {
                Err(Fault::Copy(reason)) if reason.contains("address already in use") => {
                    if tries == TRIES {
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
        let doing = || format!("{} cannot be started", tools.etcd.path.display());
        let ports = free_ports().here(|| "there is no loopback network for a restored etcd".to_owned())?;
        let [client, peer] = ports.map(|port| format!("https://127.0.0.1:{port}"));
        let log = scratch.path("etcd.log");
        let file = File::create(&log).here(doing)?;
        let mut arguments = arguments(tools.etcd.version, start, &client, &peer);
        arguments.extend(access.arguments());
        let child = Child::start(&tools.etcd.path, &arguments, &file).here(doing)?;
        let member = LocalMember {
            endpoint: client,
            tls: access.client(),
            name: None,
            data_dir: None,
            files: Vec::new(),
        };
        Self::wait(child, member, log).await
    }

    async fn wait(mut child: Child, member: LocalMember, log: PathBuf) -> Result<Self, Fault> {
        loop {
            if let Some(fault) = how_it_ended(&mut child, &log) {
                return Err(fault);
            }
            if let Ok(client) = Client::connect(&member, PATIENCE).await
                && client.status().await.is_ok_and(|status| status.leader != 0)
            {
                return Ok(Self { child, client, member, log });
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Why it ended, if it has: then no answer of it says anything.
    pub fn ended(&mut self) -> Option<Fault> {
        how_it_ended(&mut self.child, &self.log)
    }
}

/// What a call that failed says of the copy.
pub fn refused(server: &mut Server, error: &ClientError) -> Fault {
    // The silence of an etcd that has ended is explained by its end.
    if let Some(fault) = server.ended() {
        return fault;
    }
    let reason = nightshift_core::chain(error);
    match error {
        ClientError::NotAuthorised { .. } => Fault::Here(
            "authentication is on in it, and its user root, whose certificate was shown, may not count keys or write"
                .to_owned(),
        ),
        ClientError::Answered { code, message, .. } if !is_of_this_machine(*code, message) => {
            Fault::Copy(format!("the restored etcd refuses: {reason}"))
        }
        _ => Fault::Here(format!("the restored etcd does not answer: {reason}")),
    }
}

/// Whether an answer is that of a machine that is too slow or too small, which says nothing about the copy.
fn is_of_this_machine(code: Code, message: &str) -> bool {
    let of_code = matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted);
    // Said with one code or another, as the version goes.
    let slow = ["request timed out", "leader changed", "too many requests"];
    of_code || slow.iter().any(|words| message.contains(words))
}

fn how_it_ended(child: &mut Child, log: &Path) -> Option<Fault> {
    match child.ended() {
        Ok(None) => None,
        Ok(Some(status)) => {
            let reason = format!("the restored etcd ended with {status}: {}", last_words(log));
            Some(judge(reason, status.code(), log))
        }
        Err(error) => Some(Fault::Here(format!("the restored etcd cannot be watched: {error}"))),
    }
}

fn arguments(version: Version, start: Start<'_>, client: &str, peer: &str) -> Vec<OsString> {
    let Start { data, db_size, origin } = start;
    let quota = LEAST_QUOTA.max(db_size.saturating_mul(2)).to_string();
    let cluster = format!("{NAME}={peer}");
    let mut arguments: Vec<OsString> = vec!["--data-dir".into(), data.into()];
    let mut put = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
    put(&["--name", NAME, "--initial-cluster", &cluster, "--initial-advertise-peer-urls", peer]);
    put(&["--listen-peer-urls", peer, "--listen-client-urls", client, "--advertise-client-urls", client]);
    put(&["--quota-backend-bytes", &quota]);
    if origin == Origin::ForceNewCluster {
        put(&["--force-new-cluster"]);
        // It may hold v2 keys. They went with 3.6, and with them the flag.
        if version >= Version::of(3, 2) && version < Version::of(3, 6) {
            put(&["--enable-v2"]);
        }
    }
    if version >= Version::of(3, 4) {
        put(&["--logger", "zap", "--log-level", "error"]);
    }
    arguments
}

fn free_ports() -> std::io::Result<[u16; 2]> {
    // Held side by side, so that they differ.
    let (one, other) = (TcpListener::bind(("127.0.0.1", 0))?, TcpListener::bind(("127.0.0.1", 0))?);
    // In a container that may not bring up the loopback of its unit's network, one listens and nobody gets there.
    TcpStream::connect_timeout(&one.local_addr()?, PATIENCE)?;
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}
