//! Has a worker drill a copy, and reads its messages. Whatever happens to the worker, there is a report.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nightshift_core::proof::DrillReport;
use nightshift_core::settings::{EtcdTools, Settings};
use nightshift_core::text::InvalidJson;
use nightshift_etcd::kept_tools::{self, OpenTools};
use nightshift_etcd::trial::child::OWN_PROGRAM;
use nightshift_etcd::trial::scratch::sweep;
use nightshift_etcd::trial::tools::{directory_of, missing_tools};
use nightshift_store::offload;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::handover::{self, JobFiles};
use super::job::{Job, Subject};
use super::message::{MAX_MESSAGE_LEN, WorkerMessage, network};

/// How much longer than its deadline a worker may take to clean up and send its report.
const CLEANUP_GRACE: Duration = Duration::from_secs(60);
/// A drill sends about a dozen messages: its steps and its report.
const MAX_MESSAGES: usize = 1000;
/// The directory of the socket. It belongs to root, as the cold copy's does, and for the same reason.
const SOCKET_DIRECTORY: &str = "nightshift-drill";
const SOCKET: &str = "drill.sock";
/// The scratch directory of the unit, which belongs to the unit's user: `StateDirectory=` in nightshift-drill@.service.
pub const UNIT_SCRATCH: &str = "/var/lib/nightshift-drill";

/// The socket of the drill's unit.
pub fn socket(settings: &Settings) -> PathBuf {
    settings.paths.run.with_file_name(SOCKET_DIRECTORY).join(SOCKET)
}

/// Has the copy drilled, and passes each message on. What a killed worker left is removed.
pub async fn perform(
    settings: &Settings,
    subject: Subject,
    mut on_message: impl FnMut(&WorkerMessage),
) -> DrillReport {
    let copy = subject.copy.clone();
    // The worker does not get as far as to say so.
    if let Err(reason) = directory_of(&settings.drill.etcd_tools) {
        return DrillReport::not_proved(copy, reason);
    }
    let mut isolation = Isolation::default();
    let result = match connect(settings) {
        Ok(Some(stream)) => in_unit(settings, subject, stream, &mut on_message, &mut isolation).await,
        Ok(None) => as_child(settings, subject, &mut on_message).await,
        Err(reason) => Err(reason),
    };
    let mut report = result.unwrap_or_else(|reason| DrillReport::not_proved(copy, reason));
    if !report.tools.is_empty() {
        report.tools = format!("{}, {isolation}", report.tools).into();
    }
    report
}

/// In what the drill ran, for its report: systemd may start a unit without a network of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Isolation {
    #[default]
    Child,
    Unit {
        own_network: bool,
    },
}

impl std::fmt::Display for Isolation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Child => "as a child process",
            Self::Unit { own_network: true } => "in its own unit and network",
            Self::Unit { own_network: false } => "in its own unit, but in this host's network",
        })
    }
}

/// A connection to the drill's unit, which systemd starts for each of them. `None` if the socket does not exist, or if nothing
/// listens on it.
fn connect(settings: &Settings) -> Result<Option<UnixStream>, String> {
    let socket = socket(settings);
    match UnixStream::connect(&socket) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(format!("cannot connect to {}: {error}", socket.display())),
    }
}

async fn in_unit(
    settings: &Settings,
    subject: Subject,
    stream: UnixStream,
    on_message: &mut impl FnMut(&WorkerMessage),
    isolation: &mut Isolation,
) -> Result<DrillReport, String> {
    let scratch = settings.drill.scratch.clone().unwrap_or_else(|| UNIT_SCRATCH.into());
    let container = container_tools(settings, &subject).await;
    let (kept, programs) =
        container.map(|OpenTools { tools, etcd, restorer }| (tools, [etcd, restorer])).unzip();
    let job = Job::new(settings, &subject, scratch, kept);
    let files = JobFiles { copy: subject.opened.file, programs };
    let mut on_message = |message: &WorkerMessage| {
        if let WorkerMessage::Hello { network: its } = message {
            *isolation = Isolation::Unit { own_network: its.is_some() && *its != network() };
        }
        on_message(message);
    };
    // systemd closes the connection at once if another drill runs; below that is an end without any message.
    let (_sent, received) = exchange(&job, files, stream, &mut on_message).await?;
    match received? {
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
    settings: &Settings,
    subject: Subject,
    on_message: &mut impl FnMut(&WorkerMessage),
) -> Result<DrillReport, String> {
    let failed = |error: io::Error| format!("cannot run the drill's process: {error}");
    let scratch = settings.drill.scratch.clone().unwrap_or_else(|| settings.paths.scratch());
    if let Some(reason) = only_in_unit(settings, &subject).await {
        return Err(reason);
    }
    let job = Job::new(settings, &subject, scratch, None);
    let files = JobFiles { copy: subject.opened.file, programs: None };
    let (own, its) = UnixStream::pair().map_err(failed)?;
    let mut child = spawn(its).map_err(failed)?;
    // The worker stops when its input ends, which is when this returns.
    let (sent, received) = exchange(&job, files, own, on_message).await?;
    let status = match timeout(CLEANUP_GRACE, child.wait()).await {
        Ok(status) => status.map_err(failed)?,
        Err(_) => {
            child.kill().await.map_err(failed)?;
            child.wait().await.map_err(failed)?
        }
    };
    if let Err(error) = offload::run(move || sweep(&job.scratch)).await {
        tracing::warn!("cannot remove what the drill left: {}", nightshift_core::chain(&error));
    }
    sent.map_err(failed)?;
    match received? {
        Received::Report(report) => Ok(*report),
        Received::Interrupted | Received::Nothing => {
            Err(format!("the drill's process was killed ({status})"))
        }
    }
}

/// etcd's programs of the member's container, where the settings allow them and the etcd stage has kept them.
async fn container_tools(settings: &Settings, subject: &Subject) -> Option<OpenTools> {
    if settings.drill.etcd_tools != EtcdTools::Auto {
        return None;
    }
    let (state, facts) = (settings.paths.state.clone(), subject.facts.as_ref());
    let version = facts.map(|facts| facts.version.to_string());
    offload::run(move || kept_tools::open(&state, version.as_deref())).await
}

/// Why a child process cannot drill, if there are no programs but those of the member's container: they are run only where they
/// have neither the daemon's user nor a network.
async fn only_in_unit(settings: &Settings, subject: &Subject) -> Option<String> {
    let missing = missing_tools(&settings.drill.etcd_tools)?;
    container_tools(settings, subject).await?;
    Some(format!(
        "{missing}; those of the member's container are run only in the drill's unit: run `systemctl enable --now nightshift-drill.socket`"
    ))
}

fn spawn(socket: UnixStream) -> io::Result<Child> {
    let socket = OwnedFd::from(socket);
    let mut command = Command::new(OWN_PROGRAM);
    command
        .arg0("nightshift")
        .args(["drill-worker", "--parent", &std::process::id().to_string()])
        .stdin(Stdio::from(socket.try_clone()?))
        .stdout(Stdio::from(socket))
        .kill_on_drop(false)
        .spawn()
}

enum Received {
    Report(Box<DrillReport>),
    /// The worker started, and ended without a report.
    Interrupted,
    Nothing,
}

/// Sends the job with its copy, and receives up to the report. The results are whether all was sent, and what was received.
async fn exchange(
    job: &Job,
    files: JobFiles,
    stream: UnixStream,
    on_message: &mut impl FnMut(&WorkerMessage),
) -> Result<(io::Result<()>, Result<Received, String>), String> {
    let sending = job.clone();
    let (sent, stream) = offload::run(move || (handover::send(&stream, &sending, &files), stream)).await;
    let stream = stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream));
    let stream =
        stream.map_err(|error| format!("cannot use the connection to the drill's process: {error}"))?;
    Ok((sent, receive(job, BufReader::new(stream), on_message).await))
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
            let message: WorkerMessage = serde_json::from_slice(&line).map_err(|error| {
                format!("the drill's process sent an invalid message: {}", InvalidJson::from(error))
            })?;
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
