//! The worker: one job from standard input, its story to standard output, nothing left behind.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use nightshift_core::etcd_facts::DataFound;
use nightshift_core::proof::DrillReport;
use nightshift_etcd::trial::{
    self, Compare, Contents, DRILL, Fault, Here as _, Origin, Scratch, ScratchError, Server, Start, Tools,
    canary,
};
use nightshift_etcd::v2;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Stdin, Take};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout};

use super::book::Book;
use super::copy;
use super::job::{Job, Stored};
use super::words::Word;

/// Who connects has so long to say what is to be proved.
const PATIENCE: Duration = Duration::from_secs(30);
/// For so long the one before may go on cleaning up.
const LEAVES: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(100);
/// The longest job: a manifest's facts about etcd.
const LONGEST_JOB: u64 = 256 << 10;

type Input = BufReader<Take<Stdin>>;

/// Does one job. `Ok` says that its report was handed over, whatever it says.
pub async fn work() -> io::Result<()> {
    drop_capabilities()?;
    let mut input = BufReader::new(tokio::io::stdin().take(LONGEST_JOB));
    let job = read_job(&mut input).await?;
    tell(&Word::Hello)?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut teller = |word: Word| {
        // Whoever does not read any more has hung up, which is heard elsewhere.
        let _gone = tell(&word);
    };
    let mut book = Book::new(job.copy.clone(), &mut teller);
    let result = tokio::select! {
        biased;
        () = hangs_up(&mut input) => return Err(io::ErrorKind::BrokenPipe.into()),
        _ = terminated.recv() => Err(Fault::Here("it was told to stop".to_owned())),
        result = timeout(job.deadline(), drill(&job, &mut book)) => result.unwrap_or_else(|_| {
            Err(Fault::Here(format!("it was not done within {} s, [drill] deadline", job.deadline().as_secs())))
        }),
    };
    let report: DrillReport = book.close(result);
    tell(&Word::Report(report))
}

async fn read_job(input: &mut Input) -> io::Result<Job> {
    let mut line = String::new();
    timeout(PATIENCE, input.read_line(&mut line)).await??;
    Ok(serde_json::from_str(&line)?)
}

/// Nothing more is ever said: an end, or an error, means that nobody waits any more.
async fn hangs_up(input: &mut Input) {
    let mut byte = [0];
    while matches!(input.read(&mut byte).await, Ok(1..)) {}
}

fn tell(word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// The daemon's one capability reads root's files: a drill has no use for it, and etcd none at all.
fn drop_capabilities() -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // Its unit gives it none, and forbids the calls by which they are given away.
    if rustix::thread::capabilities(None)?.permitted.is_empty() {
        return Ok(());
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = rustix::thread::CapabilitySet::empty();
    let sets = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

async fn drill(job: &Job, book: &mut Book<'_>) -> Result<(), Fault> {
    let scratch = take(&job.scratch).await.here(|| "there is no place to restore to".to_owned())?;
    let tools = Tools::find(job.tools.as_deref(), &scratch).await?;
    book.tools = tools.to_string();
    tools.demand_version(job.facts.as_ref().map(|facts| facts.version.as_str()))?;
    let data = scratch.path("data");
    let db_size = size(job)?;
    copy::demand_room(scratch.folder(), db_size, job.leave)?;

    let (contents, origin) = match &job.stored {
        Stored::Snapshot { file, packing } => {
            let db = scratch.path("snapshot.db");
            let unpacked = copy::unpack(file.clone(), *packing, db.clone(), job.rate, job.facts.as_ref());
            let ending = book.step("unpack", unpacked).await?;
            let walked = trial::read_contents(db.clone(), Some(ending), scratch.folder().to_owned());
            let contents = book.step("walk", walked).await?;
            book.step("restore", trial::restore(&tools, &scratch, &db, &data)).await?;
            (Some(contents), Origin::Restored)
        }
        Stored::Member { file, packing } => {
            let expected = data_of(job).and_then(|data| data.cold_copy.clone());
            let unpacked = copy::member(file.clone(), *packing, data.clone(), job.rate, expected);
            book.step("unpack", unpacked).await?;
            (book.step("walk", walk_member(&data, &scratch)).await?, Origin::ForceNewCluster)
        }
        Stored::DataDir { folder } => {
            book.step("copy", copy::data_dir(folder.clone(), data.clone(), job.rate)).await?;
            let contents = book.step("walk", walk_member(&data, &scratch)).await?;
            (contents, Origin::ForceNewCluster)
        }
    };
    let start = Start { data: &data, db_size, origin };
    let mut server = book.step("start", Server::start(&tools, &scratch, start)).await?;
    // What the manifest says of a snapshot is not said of the copies beside it.
    let facts = job.facts.as_ref().filter(|_| matches!(job.stored, Stored::Snapshot { .. }));
    let mut compared = Vec::new();
    let compare =
        Compare { server: &mut server, origin, contents: contents.as_ref(), facts, compared: &mut compared };
    let same = book.step("compare", compare.all()).await;
    book.compared = compared;
    same?;
    let mut compared = Vec::new();
    let index = contents.as_ref().and_then(|contents| contents.consistent_index);
    let written = book.step("write", canary::write(&mut server, index, &mut compared)).await;
    book.compared.extend(compared);
    written?;
    if origin == Origin::Restored {
        return Ok(());
    }
    let mut compared = Vec::new();
    let checked = v2::check_restored(&mut server, data_of(job), &mut compared);
    let checked = book.step("v2", checked).await;
    book.compared.extend(compared);
    checked
}

fn data_of(job: &Job) -> Option<&DataFound> {
    job.facts.as_ref()?.data.as_ref()
}

/// A drill that was given up in this moment may still be cleaning up.
async fn take(root: &Path) -> Result<Scratch, ScratchError> {
    let until = Instant::now() + LEAVES;
    loop {
        match Scratch::take(root, DRILL) {
            Err(ScratchError::Busy { .. }) if Instant::now() < until => tokio::time::sleep(GLANCE).await,
            taken => return taken,
        }
    }
}

/// A data dir of v2 keys alone need not have a database.
async fn walk_member(data: &Path, scratch: &Scratch) -> Result<Option<Contents>, Fault> {
    let db = data.join("member/snap/db");
    if !db.is_file() {
        return Ok(None);
    }
    trial::read_contents(db, None, scratch.folder().to_owned()).await.map(Some)
}

/// The bytes of what is to be restored.
fn size(job: &Job) -> Result<u64, Fault> {
    let doing = || "the stored copy cannot be read".to_owned();
    match (&job.facts, &job.stored) {
        (Some(facts), Stored::Snapshot { .. }) => Ok(facts.raw_size),
        (_, Stored::Member { file, .. }) => match data_of(job).and_then(|data| data.cold_copy.as_ref()) {
            Some(cold_copy) => Ok(cold_copy.raw_size),
            None => Ok(std::fs::metadata(file).here(doing)?.len()),
        },
        (None, Stored::Snapshot { file, .. }) => Ok(std::fs::metadata(file).here(doing)?.len()),
        (_, Stored::DataDir { folder }) => copy::size_of(folder).here(doing),
    }
}
