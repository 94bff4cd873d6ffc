//! The restored members, over ssh: whether all of them contain the same, and whether each accepts a write.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use nightshift_core::chain;
use nightshift_core::etcd_facts::COLD_COPY_LOCK;
use nightshift_core::restore::Plan;
use nightshift_core::restore::etcd::Member;
use nightshift_core::restore::machine::Machine;
use nightshift_etcd::client::Client;
use nightshift_etcd::discover::{LocalMember, TlsFiles};
use nightshift_etcd::error::ClientError;
use nightshift_etcd::message::AlarmType;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::{Instant, sleep};

use crate::directory::Directory;
use crate::login::Login;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// HashKV reads the whole database.
const HASH_TIMEOUT: Duration = Duration::from_secs(300);
/// How long all members may take to start and to elect a leader.
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// Hashes differ while a compaction runs in the background.
const AGREE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a request is repeated whose error is temporary: an election takes a few seconds.
const RETRY_TIME: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How the members are reached.
pub struct Members<'a> {
    pub login: &'a Login,
    pub directory: &'a Directory,
    pub plan: &'a Plan,
    /// With which the restored members have started; 0 if they have joined others.
    pub revision: i64,
}

impl Members<'_> {
    pub async fn client(&self, member: &Member) -> Result<Client, ClientError> {
        connect(self.login, self.directory, self.plan.machine(&member.host), member).await
    }

    /// Waits until every member has a leader, and compares all of them. Returns what was found, as notes.
    pub async fn compare(&self) -> Result<Vec<String>, String> {
        let members = self.plan.members();
        let clients = self.started(members.iter().copied()).await?;
        let first = clients.first().ok_or("the plan has no members")?;
        retried(|| require_list(&members, first)).await.map_err(|error| chain(&error))??;
        let mut notes = vec![self.agree(&members, &clients).await?];
        self.write_reaches_all(&members, &clients).await?;
        notes.extend(retried(|| disarm(first)).await.map_err(|error| chain(&error))?);
        // A cold copy contains the lock of the night in which it was made. Its holder is gone: nightshift is held on all members.
        if self.plan.etcd.is_some() {
            retried(|| first.delete(COLD_COPY_LOCK.as_bytes())).await.map_err(|error| chain(&error))?;
        }
        Ok(notes)
    }

    /// Refuses if a member has a leader, so that the quorum is not lost.
    pub async fn require_no_leader(&self) -> Result<(), String> {
        for member in self.plan.members() {
            let Ok(client) = self.client(member).await else { continue };
            if client.status().await.is_ok_and(|status| status.leader != 0) {
                return Err(format!(
                    "etcd on {} has a leader, so the quorum is not lost any more, and it may have accepted writes; restore single members with `--only HOST`",
                    member.host
                ));
            }
        }
        Ok(())
    }

    /// The highest revision of a member.
    pub async fn newest_revision(&self) -> Result<i64, String> {
        let mut newest = 0;
        for member in self.plan.members() {
            let failed = |error: ClientError| format!("{}: {}", member.host, chain(&error));
            let status = self.client(member).await.map_err(failed)?.status().await.map_err(failed)?;
            newest = newest.max(status.revision());
        }
        Ok(newest)
    }

    /// Waits until each of these members has a leader.
    pub async fn wait_for(&self, members: &[Member]) -> Result<(), String> {
        self.started(members.iter()).await.map(drop)
    }

    async fn started(&self, members: impl Iterator<Item = &Member>) -> Result<Vec<Client>, String> {
        let until = Instant::now() + START_TIMEOUT;
        let mut clients = Vec::new();
        for member in members {
            loop {
                let reason = match self.client(member).await {
                    Ok(client) => match client.status().await {
                        Ok(status) if status.leader != 0 => {
                            clients.push(client);
                            break;
                        }
                        Ok(_) => "it has no leader".to_owned(),
                        Err(error) => chain(&error),
                    },
                    Err(error) => chain(&error),
                };
                if Instant::now() >= until {
                    let seconds = START_TIMEOUT.as_secs();
                    return Err(format!("{}: etcd was not ready within {seconds} s: {reason}", member.host));
                }
                sleep(POLL_INTERVAL).await;
            }
        }
        Ok(clients)
    }

    /// Members that were restored from different snapshots are all healthy and accept writes; only their content differs.
    async fn agree(&self, members: &[&Member], clients: &[Client]) -> Result<String, String> {
        let until = Instant::now() + AGREE_TIMEOUT;
        loop {
            let wanted = self.revision;
            let seen = match contents(clients, wanted).await {
                Ok(seen) => seen,
                // The API server compacts while it runs.
                Err(error) if (is_compacted(&error) || error.is_temporary()) && Instant::now() < until => {
                    sleep(POLL_INTERVAL).await;
                    continue;
                }
                Err(error) => return Err(chain(&error)),
            };
            let [first, ..] = &seen[..] else { return Err("the plan has no members".to_owned()) };
            if let Some((member, low)) = members.iter().zip(&seen).find(|(_, seen)| seen.revision < wanted) {
                return Err(format!(
                    "{}: revision {} is below {wanted}, so it does not have the restored data",
                    member.host, low.revision
                ));
            }
            if seen.iter().all(|other| other == first) {
                let hash =
                    first.hash.map_or_else(|| "no HashKV".to_owned(), |hash| format!("HashKV {hash:08x}"));
                return Ok(format!(
                    "all {} members: revision {}, {} keys, {hash}",
                    seen.len(),
                    first.revision,
                    first.keys
                ));
            }
            if Instant::now() >= until {
                let each: Vec<String> = members
                    .iter()
                    .zip(&seen)
                    .map(|(member, seen)| format!("{}: {seen:?}", member.host))
                    .collect();
                return Err(format!("the members contain different data: {}", each.join("; ")));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// A member with another snapshot applies the others' writes to its own data. Where it has what they have at the revision at which
    /// all were compared, a new write gets another revision there.
    async fn write_reaches_all(&self, members: &[&Member], clients: &[Client]) -> Result<(), String> {
        let key = format!("/nightshift/restore/{}/all", self.plan.id);
        let failed = |member: &Member, error: &ClientError| format!("{}: {}", member.host, chain(error));
        let (Some(first), Some(member)) = (clients.first(), members.first()) else { return Ok(()) };
        let put = || first.put(key.as_bytes(), b"");
        let written = retried(put).await.map_err(|error| failed(member, &error))?;
        let mut result = Ok(());
        for (client, member) in clients.iter().zip(members) {
            let seen = retried(|| client.changed_at(key.as_bytes())).await;
            let seen = seen.map_err(|error| failed(member, &error))?;
            if seen != Some(written) && result.is_ok() {
                let seen = seen.map_or_else(|| "none".to_owned(), |revision| revision.to_string());
                result = Err(format!(
                    "the members contain different data: the same write has revision {written} on {}, and {seen} on {}",
                    members[0].host, member.host
                ));
            }
        }
        let delete = || first.delete(key.as_bytes());
        retried(delete).await.map_err(|error| failed(member, &error))?;
        result
    }

    /// Health checks do not show whether a member accepts writes.
    pub async fn write(&self, member: &Member) -> Result<(), String> {
        let key = format!("/nightshift/restore/{}/{}", self.plan.id, member.host);
        let value = self.plan.id.to_string();
        let written = async || {
            let client = self.client(member).await?;
            client.put(key.as_bytes(), value.as_bytes()).await?;
            let read = client.get(key.as_bytes()).await?;
            client.delete(key.as_bytes()).await?;
            Ok::<_, ClientError>(read)
        };
        match retried(written).await {
            Ok(Some(read)) if read == value.as_bytes() => Ok(()),
            Ok(_) => Err(format!("{}: it accepted a write and did not return it", member.host)),
            Err(error) => Err(format!("{}: {}", member.host, chain(&error))),
        }
    }
}

/// Repeats a request while its error is temporary, such as during the election of a leader.
pub async fn retried<T>(mut request: impl AsyncFnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let until = Instant::now() + RETRY_TIME;
    loop {
        match request().await {
            Err(error) if error.is_temporary() && Instant::now() < until => sleep(POLL_INTERVAL).await,
            response => return response,
        }
    }
}

fn is_compacted(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { message, .. } if message.contains("compacted"))
}

/// A client of this member, by way of its machine.
pub async fn connect(
    login: &Login,
    directory: &Directory,
    machine: Option<&Machine>,
    member: &Member,
) -> Result<Client, ClientError> {
    let set = directory.set(&member.set);
    let tls = member.tls.as_ref().map_or_else(TlsFiles::default, |[ca, cert, key]| TlsFiles {
        ca: Some(set.join(ca)),
        cert: Some(set.join(cert)),
        key: Some(set.join(key)),
    });
    let local = LocalMember { endpoint: member.client_url.clone(), tls, ..LocalMember::default() };
    let (login, machine, to) = (login.clone(), machine.cloned(), member.client_address());
    Client::connect_by(&local, REQUEST_TIMEOUT, move || {
        let missing = || io::Error::other("the plan has no address for this member");
        let machine = machine.as_ref().ok_or_else(missing)?;
        Forwarded::new(login.forward(machine, to.as_deref().ok_or_else(missing)?).spawn()?)
    })
    .await
}

/// What a member contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Contents {
    revision: i64,
    keys: i64,
    /// `None` before etcd 3.3.
    hash: Option<u32>,
}

/// What each member contains at the lowest revision that all of them have. A cluster that runs has clients that write, so that the newest
/// revisions are never the same.
async fn contents(clients: &[Client], raised: i64) -> Result<Vec<Contents>, ClientError> {
    let mut newest = Vec::new();
    for client in clients {
        newest.push(client.status().await?.revision());
    }
    let common = newest.iter().copied().min().unwrap_or_default();
    // Up to the raised revision everything counts as compacted. There, nothing was written yet, so the newest ones must be the same: etcd
    // 3.2 has nothing else that shows another snapshot.
    let at = if common > raised { common } else { 0 };
    let mut seen = Vec::new();
    for (client, newest) in clients.iter().zip(newest) {
        let keys = client.count(b"", at).await?;
        let hash = match client.hash_kv(at, HASH_TIMEOUT).await {
            Ok(hashed) => Some(hashed.hash),
            Err(error) if error.is_unimplemented() => None,
            Err(error) => return Err(error),
        };
        seen.push(Contents { revision: if at > 0 { common } else { newest }, keys, hash });
    }
    Ok(seen)
}

async fn require_list(members: &[&Member], client: &Client) -> Result<Result<(), String>, ClientError> {
    let listed = client.members().await?.members;
    let mut found: Vec<&str> = listed.iter().map(|member| member.name.as_str()).collect();
    let mut wanted: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    if found == wanted {
        return Ok(Ok(()));
    }
    Ok(Err(format!("etcd has the members {}, but the plan has {}", found.join(", "), wanted.join(", "))))
}

/// A snapshot contains the alarms of its cluster. What space the new members have is another matter: etcd raises it again.
async fn disarm(client: &Client) -> Result<Vec<String>, ClientError> {
    let mut notes = Vec::new();
    for alarm in client.alarms().await?.alarms {
        if alarm.alarm() == AlarmType::NoSpace {
            client.disarm(alarm).await?;
            notes.push("the alarm NOSPACE of the old cluster was disarmed".to_owned());
        }
    }
    Ok(notes)
}

/// The streams of a program that forwards them. It ends with this.
struct Forwarded {
    input: ChildStdin,
    output: ChildStdout,
    _child: Child,
}

impl Forwarded {
    fn new(mut child: Child) -> io::Result<Self> {
        let missing = || io::Error::other("no pipe");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        Ok(Self { input, output, _child: child })
    }
}

impl AsyncRead for Forwarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(context, buffer)
    }
}

impl AsyncWrite for Forwarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(context)
    }
}
