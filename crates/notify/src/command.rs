//! A program of the operator's, with text on its standard input. It gets neither a shell nor this process's environment.

use std::process::Stdio;
use std::time::Duration;

use nightshift_core::text::Text;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use crate::SendError;

const TIMEOUT: Duration = Duration::from_secs(60);
/// How much of what it prints is read, in bytes. Of that, the first line is reported.
const MAX_OUTPUT: u64 = 64 << 10;

pub async fn run(argv: &[String], id: &str, input: &[u8]) -> Result<(), SendError> {
    let Some((name, words)) = argv.split_first() else { return Err(SendError::NoProgram) };
    let program = name.rsplit('/').next().unwrap_or(name).to_owned();
    let start = |source| SendError::Start { program: program.clone(), source };
    let mut child = Command::new(name)
        .args(words)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")
        .env("NIGHTSHIFT_ID", id)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    let (mut stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let ended = async {
        if let Some(stdin) = &mut stdin {
            // A program that does not read its input ends as it likes.
            let _unread = stdin.write_all(input).await;
        }
        drop(stdin);
        let mut output = Vec::new();
        if let Some(stderr) = stderr {
            stderr.take(MAX_OUTPUT).read_to_end(&mut output).await?;
        }
        Ok((child.wait().await?, output))
    };
    let late = |_| SendError::Slow { program: program.clone(), seconds: TIMEOUT.as_secs() };
    let (status, output) = timeout(TIMEOUT, ended).await.map_err(late)?.map_err(start)?;
    if status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output);
    let output =
        output.lines().map(str::trim).find(|line| !line.is_empty()).map(|line| Text::new(line).to_string());
    Err(SendError::Exit { program, status: format!("ended with {status}"), output })
}
