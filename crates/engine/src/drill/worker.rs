//! The worker: reads one job from standard input, does it, and writes its messages to standard output.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nightshift_core::etcd_facts::DataFound;
use nightshift_core::proof::DrillReport;
use nightshift_etcd::trial::canary::{self, AlarmRule};
use nightshift_etcd::trial::compare::{Expected, compare};
use nightshift_etcd::trial::contents::{self, Contents, Source};
use nightshift_etcd::trial::etcd::{NAME, Origin, Start};
use nightshift_etcd::trial::fault::{Fault, Here as _};
use nightshift_etcd::trial::member;
use nightshift_etcd::trial::restore::{NewMember, restore};
use nightshift_etcd::trial::scratch::{DRILL, Scratch, ScratchError};
use nightshift_etcd::trial::secrets::MasterKeys;
use nightshift_etcd::trial::server::Server;
use nightshift_etcd::v2::restored;
use nightshift_store::offload;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout};

use super::copy;
use super::handover::{self, JobFiles};
use super::job::Job;
use super::log::DrillLog;
use super::message::{WorkerMessage, network};
use super::programs;
use super::set_copy::Stored;

/// How long the previous worker may take to remove its scratch directory.
const CLEANUP_GRACE: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Does one job. `Ok` means that the report was sent, whatever its verdict.
pub async fn work() -> io::Result<()> {
    // The job has the masters' keys: no program that is run as this user reads them from this process.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let (mut job, files) = handover::receive(&UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))?;
    send(&WorkerMessage::Hello { network: network() })?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut send_message = |message: WorkerMessage| {
        // A closed connection is noticed by `closed`.
        let _closed = send(&message);
    };
    let mut log = DrillLog::new(job.copy.clone(), &mut send_message);
    let deadline = job.deadline();
    let result = tokio::select! {
        biased;
        () = closed() => return Err(io::ErrorKind::BrokenPipe.into()),
        _ = terminated.recv() => Err(Fault::Here("the drill was stopped".to_owned())),
        result = timeout(deadline, drill(&mut job, files, &mut log)) => result.unwrap_or_else(|_| {
            let seconds = deadline.as_secs();
            Err(Fault::Here(format!("the drill did not finish within {seconds} s (`deadline` in [drill])")))
        }),
    };
    let report: DrillReport = log.report(result);
    send(&WorkerMessage::Report(report))
}

/// Returns when the input ends: then the job has no owner any more.
async fn closed() {
    let (mut input, mut byte) = (tokio::io::stdin(), [0]);
    while matches!(input.read(&mut byte).await, Ok(1..)) {}
}

fn send(message: &WorkerMessage) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

async fn drill(job: &mut Job, files: JobFiles, log: &mut DrillLog<'_>) -> Result<(), Fault> {
    // They are wiped when the copy was walked, before etcd starts.
    let keys = std::mem::take(&mut job.keys);
    let scratch =
        create_scratch(&job.scratch).await.here(|| "cannot create a scratch directory".to_owned())?;
    let JobFiles { copy, programs } = files;
    let tools = programs::find(job, &scratch, programs).await?;
    log.tools = tools.to_string();
    let used = tools.clone();
    log.programs = offload::run(move || used.used()).await?;
    let data = scratch.path("data");
    let db_size = size(job, &copy)?;
    copy::require_space(scratch.directory(), db_size, job.leave)?;

    let (contents, origin) = match job.stored {
        Stored::Snapshot { packing } => {
            let db = scratch.path("snapshot.db");
            let unpacked = copy::unpack(copy, packing, db.clone(), job.rate, job.facts.as_ref());
            let ending = log.step("unpack", unpacked).await?;
            let walked = read(keys, db.clone(), Source::Snapshot(ending), &scratch);
            let contents = log.step("walk", walked).await?;
            log.secrets = Some(contents.secrets.clone());
            log.step("restore", restore(&tools, &scratch, &db, &data, NewMember::alone())).await?;
            (Some(contents), Origin::Restored)
        }
        Stored::Member { packing } => {
            let expected = data_of(job).and_then(|data| data.cold_copy.clone());
            let unpacked = copy::member(copy, packing, data.clone(), job.rate, expected);
            log.step("unpack", unpacked).await?;
            member::require(&data, &job.copy)?;
            let contents = log.step("walk", walk_member(keys, &data, &scratch)).await?;
            log.secrets = contents.as_ref().map(|contents| contents.secrets.clone());
            (contents, Origin::ForceNewCluster)
        }
    };
    let start = Start { name: NAME, data: &data, db_size, origin };
    let mut server = log.step("start", Server::start(&tools, &scratch, start)).await?;
    // The manifest's facts are about the snapshot, not about the other copies in the set.
    let facts = job.facts.as_ref().filter(|_| matches!(job.stored, Stored::Snapshot { .. }));
    let compared_elsewhere = job.compared_elsewhere;
    let expected = Expected { origin, contents: contents.as_ref(), facts, compared_elsewhere };
    let mut compared = Vec::new();
    let same = log.step("compare", compare(&mut server, expected, &mut compared)).await;
    log.compared = compared;
    same?;
    let mut notes = Vec::new();
    let index = contents.as_ref().and_then(|contents| contents.consistent_index);
    let alarms = alarm_rule(job);
    let written = log.step("write", canary::write(&mut server, index, &alarms, &mut notes)).await;
    log.compared.extend(notes);
    written?;
    if origin == Origin::Restored {
        return Ok(());
    }
    let mut compared = Vec::new();
    let checked = log.step("v2", restored::check(&mut server, data_of(job), &mut compared)).await;
    log.compared.extend(compared);
    checked
}

fn data_of(job: &Job) -> Option<&DataFound> {
    job.facts.as_ref()?.data.as_ref()
}

/// Which alarms say nothing about this copy: those of other members, unless the members' comparison names this one.
fn alarm_rule(job: &Job) -> AlarmRule {
    let Some(facts) = &job.facts else { return AlarmRule::UnknownMember };
    let diverged = facts.agreement.as_ref().is_some_and(|agreement| {
        agreement.diverged().iter().any(|member| member.member_id == facts.member_id)
    });
    if diverged { AlarmRule::Diverged } else { AlarmRule::Member(facts.member_id.to_string()) }
}

/// A drill that was stopped just now may still be cleaning up.
async fn create_scratch(root: &Path) -> Result<Scratch, ScratchError> {
    let until = Instant::now() + CLEANUP_GRACE;
    loop {
        match Scratch::create(root, DRILL) {
            Err(ScratchError::Busy { .. }) if Instant::now() < until => {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            created => return created,
        }
    }
}

/// A data directory with v2 keys only may have no database.
async fn walk_member(keys: MasterKeys, data: &Path, scratch: &Scratch) -> Result<Option<Contents>, Fault> {
    let db = data.join("member/snap/db");
    if !db.is_file() {
        return Ok(None);
    }
    read(keys, db, Source::Member, scratch).await.map(Some)
}

async fn read(keys: MasterKeys, db: PathBuf, source: Source, scratch: &Scratch) -> Result<Contents, Fault> {
    contents::read(db, source, scratch.directory().to_owned(), keys).await
}

/// The size of what is to be restored, in bytes.
fn size(job: &Job, copy: &File) -> Result<u64, Fault> {
    let known = match job.stored {
        Stored::Snapshot { .. } => job.facts.as_ref().map(|facts| facts.raw_size),
        Stored::Member { .. } => data_of(job).and_then(|data| Some(data.cold_copy.as_ref()?.raw_size)),
    };
    match known {
        Some(size) => Ok(size),
        None => Ok(copy.metadata().here(|| "cannot read the copy".to_owned())?.len()),
    }
}
