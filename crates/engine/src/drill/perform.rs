//! Has a worker do a job, and reads its messages. Whatever happens to the worker, there is a report.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nightshift_core::proof::DrillReport;
use nightshift_core::settings::Settings;
use nightshift_etcd::trial::child::OWN_PROGRAM;
use nightshift_etcd::trial::scratch::sweep;
use nightshift_store::offload;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::job::Job;
use super::message::{MAX_MESSAGE_LEN, WorkerMessage};

/// How much longer than its deadline a worker may take to clean up and send its report.
const CLEANUP_GRACE: Duration = Duration::from_secs(60);
/// A drill sends about a dozen messages: its steps and its report.
const MAX_MESSAGES: usize = 1000;
/// The socket of the drill's unit, in the daemon's run directory.
const SOCKET: &str = "drill.sock";

/// Where the worker runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerMode {
    /// In its own unit, which systemd starts for each connection to this socket; as a child if nothing listens there.
    Unit(PathBuf),
    /// As a child of this process. If this process is root, the child runs as the owner of the scratch directory, because that
    /// user must be able to remove what a killed worker leaves.
    Child,
    /// As a child with the rights of this process.
    ChildWithOwnRights,
}

impl WorkerMode {
    pub fn of(settings: &Settings) -> Self {
        Self::Unit(settings.paths.run.join(SOCKET))
    }
}

/// Has the job done, and passes each message on. What a killed worker left is removed.
pub async fn perform(
    job: &Job,
    mode: &WorkerMode,
    mut on_message: impl FnMut(&WorkerMessage),
) -> DrillReport {
    let stream = match mode {
        WorkerMode::Unit(socket) => connect(socket).await,
        WorkerMode::Child | WorkerMode::ChildWithOwnRights => Ok(None),
    };
    let own_rights = *mode == WorkerMode::ChildWithOwnRights;
    let (how, result) = match stream {
        Ok(Some(stream)) => ("in its own unit", in_unit(job, stream, &mut on_message).await),
        Ok(None) => ("as a child process", as_child(job, own_rights, &mut on_message).await),
        Err(reason) => ("in its own unit", Err(reason)),
    };
    let scratch = job.scratch.clone();
    if let Err(error) = offload::run(move || sweep(&scratch)).await {
        tracing::warn!("cannot remove what the drill left: {}", nightshift_core::chain(&error));
    }
    let mut report = result.unwrap_or_else(|reason| DrillReport::not_proved(job.copy.clone(), reason));
    if !report.tools.is_empty() {
        report.tools = format!("{}, {how}", report.tools);
    }
    report
}

/// `None` if there is no unit: no socket, or one that nothing listens on.
async fn connect(socket: &Path) -> Result<Option<UnixStream>, String> {
    match UnixStream::connect(socket).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(format!("cannot connect to {}: {error}", socket.display())),
    }
}

async fn in_unit(
    job: &Job,
    stream: UnixStream,
    on_message: &mut impl FnMut(&WorkerMessage),
) -> Result<DrillReport, String> {
    let (reading, mut writing) = stream.into_split();
    // systemd closes the connection at once if another drill runs; below that is an end without any message.
    let _closed = send(job, &mut writing).await;
    match receive(job, BufReader::new(reading), on_message).await? {
        Received::Report(report) => Ok(*report),
        Received::Interrupted => Err(
            "the drill's unit was killed (out of memory, or by its time limit); see `journalctl -u 'nightshift-drill@*'`"
                .to_owned(),
        ),
        Received::Nothing => Err(
            "the drill's unit did not start (is another drill running?); see `journalctl -u 'nightshift-drill@*'`"
                .to_owned(),
        ),
    }
}

async fn as_child(
    job: &Job,
    own_rights: bool,
    on_message: &mut impl FnMut(&WorkerMessage),
) -> Result<DrillReport, String> {
    let failed = |error: io::Error| format!("cannot run the drill's process: {error}");
    let mut child = spawn(&job.scratch, own_rights).map_err(failed)?;
    let (Some(mut writing), Some(reading)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("the drill's process has no input or output".to_owned());
    };
    send(job, &mut writing).await.map_err(failed)?;
    let received = receive(job, BufReader::new(reading), on_message).await;
    // The worker stops when its input ends.
    drop(writing);
    let status = match timeout(CLEANUP_GRACE, child.wait()).await {
        Ok(status) => status.map_err(failed)?,
        Err(_) => {
            child.kill().await.map_err(failed)?;
            child.wait().await.map_err(failed)?
        }
    };
    match received? {
        Received::Report(report) => Ok(*report),
        Received::Interrupted | Received::Nothing => {
            Err(format!("the drill's process was killed ({status})"))
        }
    }
}

fn spawn(scratch: &Path, own_rights: bool) -> io::Result<Child> {
    let mut command = Command::new(OWN_PROGRAM);
    command
        .arg0("nightshift")
        .args(["drill-worker", "--parent", &std::process::id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .kill_on_drop(false);
    if !own_rights
        && rustix::process::geteuid().is_root()
        && let Ok(owner) = std::fs::metadata(scratch)
        && owner.uid() != 0
    {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command.spawn()
}

async fn send(job: &Job, writing: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut line = serde_json::to_vec(job)?;
    line.push(b'\n');
    writing.write_all(&line).await?;
    writing.flush().await
}

enum Received {
    Report(Box<DrillReport>),
    /// The worker started, and ended without a report.
    Interrupted,
    Nothing,
}

async fn receive(
    job: &Job,
    mut reading: impl AsyncBufRead + Unpin,
    on_message: &mut impl FnMut(&WorkerMessage),
) -> Result<Received, String> {
    let messages = async {
        let mut received = Received::Nothing;
        for _ in 0..MAX_MESSAGES {
            let mut line = Vec::new();
            let read = (&mut reading).take(MAX_MESSAGE_LEN).read_until(b'\n', &mut line).await;
            if !matches!(read, Ok(1..)) || line.last() != Some(&b'\n') {
                return Ok(received);
            }
            let message: WorkerMessage = serde_json::from_slice(&line)
                .map_err(|error| format!("the drill's process sent an invalid message: {error}"))?;
            on_message(&message);
            match message {
                WorkerMessage::Report(report) => return Ok(Received::Report(Box::new(report))),
                _ => received = Received::Interrupted,
            }
        }
        Err(format!("the drill's process sent more than {MAX_MESSAGES} messages"))
    };
    let limit = job.deadline().saturating_add(CLEANUP_GRACE);
    timeout(limit, messages)
        .await
        .unwrap_or_else(|_| Err(format!("the drill did not finish within {} s", limit.as_secs())))
}
