//! The remotes, which survived the cluster: the masters' new keys are authorized there by the operator's own login, and the remotes' host
//! keys are those that the operator's ssh knows.

use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use nightshift_core::restore::RemoteLogin;
use nightshift_core::text::one_line;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use crate::login::{Login, known_as};

/// Of a program, in bytes.
const MAX_OUTPUT: u64 = 16 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);
/// Appends the line of its input, once.
const APPEND: &str = "umask 077; line=$(cat) && mkdir -p .ssh && \
     { grep -qxF -- \"$line\" .ssh/authorized_keys 2>/dev/null || { \
     [ -z \"$(tail -c1 .ssh/authorized_keys 2>/dev/null)\" ] || echo >> .ssh/authorized_keys; \
     printf '%s\\n' \"$line\" >> .ssh/authorized_keys; }; }";

/// Authorizes a key at a remote. The error is why it must be done by hand.
pub async fn authorize(login: &Login, remote: &RemoteLogin, line: &str) -> Result<(), String> {
    let mut command = login.remote(remote);
    command.arg(APPEND);
    let output = run(&mut command, line).await?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{} ({})", one_line(String::from_utf8_lossy(&output.stderr).trim()), output.status))
}

/// The remote's host keys, as lines of known_hosts; none if the operator's ssh does not know any.
pub async fn pins(login: &Login, remote: &RemoteLogin) -> Result<Vec<String>, String> {
    let mut command = login.settings(remote);
    let settings = run(&mut command, "").await?;
    let settings = String::from_utf8_lossy(&settings.stdout).into_owned();
    let files = settings.lines().filter_map(|line| {
        line.strip_prefix("userknownhostsfile ").or_else(|| line.strip_prefix("globalknownhostsfile "))
    });
    let name = known_as(&remote.address, remote.port);
    let mut pins = Vec::new();
    for file in files.flat_map(str::split_whitespace) {
        let mut command = Command::new("ssh-keygen");
        command.args(["-F", &name, "-f"]).arg(expanded(file));
        let found = run(&mut command, "").await?;
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        // The name in the file may be hashed; a plain one is what nightshift's own tools print.
        let keys = found.lines().filter(|line| !line.starts_with(['#', '@']));
        pins.extend(keys.filter_map(|line| Some(format!("{name} {}", line.split_once(' ')?.1))));
    }
    Ok(pins)
}

/// `ssh -G` prints a path below the home directory with `~`.
fn expanded(file: &str) -> String {
    match (file.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(below), Ok(home)) => format!("{home}/{below}"),
        _ => file.to_owned(),
    }
}

/// Runs a program with this input. It ends after a minute, and if it prints more than is read.
pub async fn run(command: &mut Command, input: &str) -> Result<Output, String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let _closed_by_the_program = stdin.write_all(input.as_bytes()).await;
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = async {
        let (stdout, stderr) = tokio::try_join!(bounded(stdout), bounded(stderr))?;
        Ok::<_, io::Error>(Output { status: child.wait().await?, stdout, stderr })
    };
    timeout(TIMEOUT, ended)
        .await
        .map_err(|_| format!("no result within {} s", TIMEOUT.as_secs()))?
        .map_err(|error| error.to_string())
}

async fn bounded(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(MAX_OUTPUT).read_to_end(&mut read).await?;
    }
    Ok(read)
}
