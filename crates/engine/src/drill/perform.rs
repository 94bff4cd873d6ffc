//! Has a worker do a job, and hears it out: whatever becomes of the worker, there is a report.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nightshift_core::proof::DrillReport;
use nightshift_core::settings::Settings;
use nightshift_etcd::trial::{OWN_PROGRAM, sweep};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::job::Job;
use super::words::{LONGEST, Word};
use nightshift_store::offload;

/// How much longer than its deadline a worker may take to clean up and say so.
const GRACE: Duration = Duration::from_secs(60);
/// Words that one drill may have: its steps and its report come to a dozen.
const MOST_WORDS: usize = 1000;
/// What systemd listens on for the unit of drills, in the folder for what lives as long as the daemon.
const SOCKET: &str = "drill.sock";

/// Where the worker is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// In its own unit, which systemd starts for whoever connects here; as a child where nobody listens.
    Unit(PathBuf),
    /// As a child of this process: never as root where the scratch folder is somebody else's, for what it leaves must be
    /// theirs to remove.
    Child,
    /// As a child that may read whatever this process may.
    Same,
}

impl Way {
    pub fn of(settings: &Settings) -> Self {
        Self::Unit(settings.paths.run.join(SOCKET))
    }
}

/// Does the job, and tells each word as it comes. What a killed worker left is swept.
pub async fn perform(job: &Job, way: &Way, mut on_word: impl FnMut(&Word)) -> DrillReport {
    let stream = match way {
        Way::Unit(socket) => connect(socket).await,
        Way::Child | Way::Same => Ok(None),
    };
    let (how, heard) = match stream {
        Ok(Some(stream)) => ("in a unit of its own", in_unit(job, stream, &mut on_word).await),
        Ok(None) => ("as a child process", as_child(job, *way == Way::Same, &mut on_word).await),
        Err(reason) => ("in a unit of its own", Err(reason)),
    };
    let scratch = job.scratch.clone();
    if let Err(error) = offload::run(move || sweep(&scratch)).await {
        tracing::warn!("what the drill left cannot be removed: {}", nightshift_core::chain(&error));
    }
    let mut report = heard.unwrap_or_else(|reason| DrillReport::not_proved(job.copy.clone(), reason));
    if !report.tools.is_empty() {
        report.tools.push_str(", ");
    }
    report.tools.push_str(how);
    report
}

/// `None` where no unit is set up: a socket that nobody listens on is as good as none.
async fn connect(socket: &Path) -> Result<Option<UnixStream>, String> {
    match UnixStream::connect(socket).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(format!("{} cannot be reached: {error}", socket.display())),
    }
}

async fn in_unit(
    job: &Job,
    stream: UnixStream,
    on_word: &mut impl FnMut(&Word),
) -> Result<DrillReport, String> {
    let (reading, mut writing) = stream.into_split();
    // One that is closed at once, for another drill runs, is heard as that below.
    let _closed = ask(job, &mut writing).await;
    match hear(job, BufReader::new(reading), on_word).await? {
        Heard::Report(report) => Ok(*report),
        Heard::End => Err(
            "the drill's unit was ended (out of memory, or by its time limit): see journalctl -u 'nightshift-drill@*'"
                .to_owned(),
        ),
        Heard::Nothing => Err(
            "the drill's unit did not begin (does another drill run?): see journalctl -u 'nightshift-drill@*'"
                .to_owned(),
        ),
    }
}

async fn as_child(
    job: &Job,
    same_user: bool,
    on_word: &mut impl FnMut(&Word),
) -> Result<DrillReport, String> {
    let failed = |error: io::Error| format!("the drill's process cannot be started: {error}");
    let mut child = spawn(&job.scratch, same_user).map_err(failed)?;
    let (Some(mut writing), Some(reading)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("the drill's process has no input or output".to_owned());
    };
    ask(job, &mut writing).await.map_err(failed)?;
    let heard = hear(job, BufReader::new(reading), on_word).await;
    // Its input ends here, which is how it hears that nobody waits any more.
    drop(writing);
    let status = match timeout(GRACE, child.wait()).await {
        Ok(status) => status.map_err(failed)?,
        Err(_) => {
            child.kill().await.map_err(failed)?;
            child.wait().await.map_err(failed)?
        }
    };
    match heard? {
        Heard::Report(report) => Ok(*report),
        Heard::End | Heard::Nothing => Err(format!("the drill's process was ended from outside: {status}")),
    }
}

fn spawn(scratch: &Path, same_user: bool) -> io::Result<Child> {
    let mut command = Command::new(OWN_PROGRAM);
    command
        .arg0("nightshift")
        .args(["drill-worker", "--parent", &std::process::id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .kill_on_drop(false);
    if !same_user
        && rustix::process::geteuid().is_root()
        && let Ok(owner) = std::fs::metadata(scratch)
        && owner.uid() != 0
    {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command.spawn()
}

async fn ask(job: &Job, writing: &mut (impl tokio::io::AsyncWrite + Unpin)) -> io::Result<()> {
    let mut line = serde_json::to_vec(job)?;
    line.push(b'\n');
    writing.write_all(&line).await?;
    writing.flush().await
}

enum Heard {
    Report(Box<DrillReport>),
    /// It began, and ended without a report.
    End,
    Nothing,
}

async fn hear(
    job: &Job,
    mut reading: impl AsyncBufRead + Unpin,
    on_word: &mut impl FnMut(&Word),
) -> Result<Heard, String> {
    let listen = async {
        let mut heard = Heard::Nothing;
        for _ in 0..MOST_WORDS {
            let mut line = Vec::new();
            let read = (&mut reading).take(LONGEST).read_until(b'\n', &mut line).await;
            if !matches!(read, Ok(1..)) || line.last() != Some(&b'\n') {
                return Ok(heard);
            }
            let word: Word = serde_json::from_slice(&line)
                .map_err(|error| format!("what the drill's process says is not understood: {error}"))?;
            on_word(&word);
            match word {
                Word::Report(report) => return Ok(Heard::Report(Box::new(report))),
                _ => heard = Heard::End,
            }
        }
        Err("the drill's process does not come to an end".to_owned())
    };
    let longest = job.deadline().saturating_add(GRACE);
    timeout(longest, listen)
        .await
        .unwrap_or_else(|_| Err(format!("the drill was not done within {} s", longest.as_secs())))
}
