//! The data of a member that survived the loss of the quorum, read from its host.
//!
//! Without a quorum a member that was started again serves no client, so its data directory is read while it is stopped. Its write-ahead
//! log has what the database has not applied yet.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nightshift_core::chain;
use nightshift_core::digest::{Digest, Hasher};
use nightshift_core::etcd_facts::RunsAs;
use nightshift_core::inventory::Host;
use nightshift_core::name::HostName;
use nightshift_core::restore::act::{Act, Facts, Wanted};
use nightshift_core::restore::choice::had_v2_keys;
use nightshift_core::restore::copy::{CopyKind, EtcdCopy};
use nightshift_core::restore::etcd::{self, Member};
use nightshift_core::restore::evidence::Evidence;
use nightshift_core::restore::id::PlanId;
use nightshift_core::restore::machine::{self, Machine};
use nightshift_core::role::Role;
use nightshift_core::shell::quote;
use nightshift_core::text::one_line;
use nightshift_core::units::bytes;
use nightshift_store::sync_file;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::ChildStdout;
use tokio::time::timeout;

use crate::call::{call, tail};
use crate::directory::Directory;
use crate::error::{Doing as _, RestoreError};
use crate::login::Login;
use crate::member::connect;
use crate::source;

/// Beside the files of its set.
const ITEM: &str = "survivor.tar";
/// etcd supports databases up to 8 GiB, and keeps some segments of its log beside it. In bytes.
const MAX_DATA: u64 = 64 << 30;
const DEADLINE: Duration = Duration::from_secs(3 * 60 * 60);
const CHUNK: usize = 256 << 10;

/// What survived.
#[derive(Debug)]
pub struct Survivor {
    pub copy: EtcdCopy,
    /// What is known of the other members.
    pub others: Vec<(HostName, Other)>,
}

#[derive(Debug)]
pub enum Other {
    /// It responds and has no leader.
    Revision(i64),
    /// It was not reached, so it may still have a leader.
    Unchecked(String),
}

/// Copies the data of this member to the directory. It must be stopped, and no other member may have a leader. `read` gets the number of
/// bytes of each piece.
pub async fn read(
    login: &Login,
    directory: &Directory,
    evidence: &Evidence<'_>,
    host: &HostName,
    read: &mut dyn FnMut(u64),
) -> Result<Survivor, RestoreError> {
    let refused = |reason: String| RestoreError::Refused(format!("{host}: {reason}"));
    let members = || evidence.settings.inventory.with_role(Role::Etcd);
    let own = members().find(|member| member.name == *host);
    let own = own.ok_or_else(|| refused("it is not an etcd host of the cluster's inventory".to_owned()))?;
    let member = etcd::member(evidence, host).map_err(refused)?;
    let etcd = evidence.set(&member.set).and_then(|set| set.manifest.etcd.as_ref());
    if etcd.is_some_and(|etcd| etcd.learner) {
        return Err(refused("it is a learner, which cannot become a cluster by itself".to_owned()));
    }
    let mut others = Vec::new();
    for other in members().filter(|other| other.name != *host) {
        others.push((other.name.clone(), without_leader(login, directory, evidence, other).await?));
    }
    let machine = machine::running(own);
    let facts = require_stopped(login, evidence, &machine, &member).await?;
    let path = directory.set(&member.set).join(ITEM);
    let (size, sha256) = copy(login, &machine, &member, &path, read).await?;
    // It may have been started meanwhile.
    require_stopped(login, evidence, &machine, &member).await?;
    let version = facts.etcd.or_else(|| etcd.map(|etcd| etcd.version.clone()));
    let copy = EtcdCopy {
        set: member.set,
        item: ITEM.to_owned(),
        kind: CopyKind::Survivor,
        v2: had_v2_keys(evidence).is_some(),
        sha256,
        size,
        revision: 0,
        version: version.unwrap_or_else(|| "unknown".into()),
    };
    Ok(Survivor { copy, others })
}

/// A member that has a leader still has a quorum, so the survivor's data may be older than what the cluster accepts.
async fn without_leader(
    login: &Login,
    directory: &Directory,
    evidence: &Evidence<'_>,
    other: &Host,
) -> Result<Other, RestoreError> {
    let member = match etcd::member(evidence, &other.name) {
        Ok(member) => member,
        // Without its set it cannot be reached with a client's certificate.
        Err(reason) => return Ok(Other::Unchecked(reason)),
    };
    let asked =
        async { connect(login, directory, Some(&machine::running(other)), &member).await?.status().await };
    match asked.await {
        Ok(status) if status.leader == 0 => Ok(Other::Revision(status.revision())),
        Ok(_) => Err(RestoreError::Refused(format!(
            "etcd on {} has a leader, so the quorum is not lost; restore single members with `--only HOST`",
            other.name
        ))),
        Err(error) => Ok(Other::Unchecked(chain(&error))),
    }
}

async fn require_stopped(
    login: &Login,
    evidence: &Evidence<'_>,
    machine: &Machine,
    member: &Member,
) -> Result<Facts, RestoreError> {
    let refused = |reason: String| RestoreError::Refused(format!("{}: {reason}", machine.host));
    let path = member.data.path.to_string();
    let wanted = Wanted { data: vec![path.clone()], ..Wanted::default() };
    // The request of a plan that is not made yet.
    let plan = PlanId { night: evidence.night, number: 0 };
    let called = call(login, machine, &plan, "0", Act::Facts(wanted), Vec::new()).await;
    let outcome = called.map_err(|error| refused(chain(&error)))?;
    let facts = outcome.facts.ok_or_else(|| refused("it returned no facts".to_owned()))?;
    let data = facts.data.first().ok_or_else(|| refused("it returned no facts of etcd's data".to_owned()))?;
    if !data.has_member {
        return Err(refused(format!("{path} has no data of a member")));
    }
    if data.in_use {
        let how = match &member.runs {
            RunsAs::Unit(unit) => format!("`systemctl stop {unit}`"),
            RunsAs::StaticPod(manifest) => format!("move {manifest} out of its directory"),
        };
        return Err(refused(format!(
            "a process has the database open; stop etcd there ({how}), then repeat this command"
        )));
    }
    Ok(facts)
}

async fn copy(
    login: &Login,
    machine: &Machine,
    member: &Member,
    to: &Path,
    moved: &mut dyn FnMut(u64),
) -> Result<(u64, Digest), RestoreError> {
    let refused = |reason: String| {
        RestoreError::Refused(format!("{}: cannot read {}: {reason}", machine.host, member.data.path))
    };
    let missing = || refused("no pipe".to_owned());
    let line = format!("tar -C {} -cf - member", quote(&member.data.path));
    let mut child =
        login.as_root(machine, &line).stdin(Stdio::null()).spawn().doing("run", Path::new("ssh"))?;
    let output = child.stdout.take().ok_or_else(missing)?;
    let errors = child.stderr.take().ok_or_else(missing)?;
    let file = tokio::fs::File::from_std(source::create(to)?);
    let both = async { tokio::join!(receive(output, file, moved), tail(errors)) };
    let (received, errors) = timeout(DEADLINE, both)
        .await
        .map_err(|_| refused(format!("not finished within {} s", DEADLINE.as_secs())))?;
    let received = received.map_err(|error| refused(chain(&error)))?;
    let status = child.wait().await.doing("wait for", Path::new("ssh"))?;
    if !status.success() {
        return Err(refused(format!("{} ({status})", one_line(errors.trim()))));
    }
    Ok(received)
}

/// Writes what arrives to the file. It owns the pipe: if it fails, the program at the other end ends too.
async fn receive(
    output: ChildStdout,
    mut file: tokio::fs::File,
    moved: &mut dyn FnMut(u64),
) -> io::Result<(u64, Digest)> {
    let mut output = output.take(MAX_DATA);
    let (mut hasher, mut size, mut buffer) = (Hasher::default(), 0, vec![0; CHUNK]);
    loop {
        let read = output.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        file.write_all(&buffer[..read]).await?;
        size += read as u64;
        moved(read as u64);
    }
    if size == MAX_DATA {
        return Err(io::Error::other(format!("it is larger than {}", bytes(MAX_DATA))));
    }
    file.flush().await?;
    sync_file(&file.into_std().await)?;
    Ok((size, hasher.finish()))
}
