//! The operator's own `kubectl proxy` or `oc proxy`: configuration, contexts, plugins, tokens and certificates are the operator's.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nightshift_core::text::one_line;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Until the proxy listens. It makes no request before.
const START_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// A killed program ends at once.
const KILL_POLL_INTERVAL: Duration = Duration::from_millis(2);
const KILL_POLLS: u32 = 500;
/// Of a command that reads the configuration alone.
const CONFIG_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("cannot make a directory for the proxy's socket")]
    Directory(#[source] io::Error),
    #[error("cannot run {}; name the program with --kubectl", .program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("`{} proxy` ended ({status})", .program.display())]
    Ended { program: PathBuf, status: ExitStatus },
    #[error("`{} proxy` did not listen within {} s", .program.display(), START_TIMEOUT.as_secs())]
    Silent { program: PathBuf },
}

/// The program, and which cluster it is to use.
#[derive(Debug, Clone)]
pub struct Kubectl {
    pub program: PathBuf,
    /// As `--kubeconfig` and `--context`.
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
}

impl Kubectl {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(kubeconfig) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        if let Some(context) = &self.context {
            command.arg("--context").arg(context);
        }
        command.kill_on_drop(true);
        command
    }

    /// The URL of the cluster that its configuration names, as text.
    pub async fn server(&self) -> Option<String> {
        let mut command = self.command();
        command.args(["config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"]);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let output = timeout(CONFIG_TIMEOUT, command.output()).await.ok()?.ok()?;
        let server = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && !server.is_empty()).then(|| one_line(&server))
    }
}

/// A running proxy. It is killed when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    /// Only this user can enter it: the socket acts with the operator's credentials.
    directory: TempDir,
}

impl Proxy {
    /// Starts the proxy, and waits until it listens.
    pub async fn start(kubectl: &Kubectl) -> Result<Self, ProxyError> {
        let private = Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().prefix("nightshift-").permissions(private).tempdir();
        let directory = directory.map_err(ProxyError::Directory)?;
        let program = || kubectl.program.clone();
        let mut command = kubectl.command();
        command.arg("proxy").arg(format!("--unix-socket={}", socket(&directory).display()));
        // A login plugin may need the terminal, and the proxy's own messages are for the operator.
        let mut child = command
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| ProxyError::Start { program: program(), source })?;
        let until = Instant::now() + START_TIMEOUT;
        while UnixStream::connect(socket(&directory)).await.is_err() {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(ProxyError::Ended { program: program(), status });
            }
            if Instant::now() >= until {
                return Err(ProxyError::Silent { program: program() });
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(Self { child, directory })
    }

    pub fn socket(&self) -> PathBuf {
        socket(&self.directory)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _has_ended = self.child.start_kill();
        // This process may end at once, and a child that is not waited for stays in the process table.
        for _ in 0..KILL_POLLS {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(KILL_POLL_INTERVAL);
        }
    }
}

fn socket(directory: &TempDir) -> PathBuf {
    Path::join(directory.path(), "kubectl.sock")
}
