//! Archives on a remote, by the operator's own `sftp` program. A remote's account may allow nothing else.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nightshift_core::archive::ArchiveName;
use nightshift_core::text::one_line;
use nightshift_core::units::bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Child;
use tokio::time::{Instant, timeout};

use crate::call::tail;
use crate::directory::private_directory;
use crate::error::{Doing as _, RestoreError};
use crate::login::{Login, RemotePlace};
use crate::remote::run;

/// How often the size of what has arrived is read.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// At 10 MiB/s, 1 TiB takes 29 hours. A connection that is dead ends much earlier, by ssh's own timeouts.
const DEADLINE: Duration = Duration::from_secs(36 * 60 * 60);

/// The archives there.
pub async fn list(login: &Login, place: &RemotePlace) -> Result<Vec<ArchiveName>, RestoreError> {
    let failed = |reason: String| refused(place, &format!("cannot list {}: {reason}", place.path));
    let mut command = login.sftp(place);
    let output = run(&mut command, &format!("cd {}\nls -1\n", quoted(&place.path))).await.map_err(failed)?;
    if !output.status.success() {
        let reason = one_line(String::from_utf8_lossy(&output.stderr).trim());
        return Err(failed(format!("{reason} ({})", output.status)));
    }
    // sftp also prints the commands that it runs.
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.trim().parse().ok()).collect())
}

/// Copies a file of the remote to the directory `to`; false if it does not exist there. An error if it has more than `max` bytes. `arrived`
/// gets the number of its bytes from time to time.
pub async fn fetch(
    login: &Login,
    place: &RemotePlace,
    name: &str,
    to: &Path,
    max: u64,
    arrived: &mut dyn FnMut(u64),
) -> Result<bool, RestoreError> {
    private_directory(to)?;
    let failed = |reason: &str| refused(place, &format!("cannot copy {name}: {reason}"));
    let mut child = login.sftp(place).stdout(Stdio::null()).spawn().doing("run", Path::new("sftp"))?;
    let file = to.join(name);
    let batch =
        format!("cd {}\nget {} {}\n", quoted(&place.path), quoted(name), quoted(&file.display().to_string()));
    if let Some(mut input) = child.stdin.take() {
        let _closed_by_the_program = input.write_all(batch.as_bytes()).await;
    }
    let until = Instant::now() + DEADLINE;
    let ending = end(&mut child);
    tokio::pin!(ending);
    let (status, errors) = loop {
        if let Ok(ended) = timeout(POLL_INTERVAL, &mut ending).await {
            break ended.doing("wait for", Path::new("sftp"))?;
        }
        let size = std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
        arrived(size);
        if size > max {
            return Err(failed(&format!("it has more than {}", bytes(max))));
        }
        if Instant::now() >= until {
            return Err(failed(&format!("not finished within {} h", DEADLINE.as_secs() / 3600)));
        }
    };
    // As sftp prints it.
    if status.success() || errors.contains("not found") {
        return Ok(status.success());
    }
    Err(failed(&format!("{} ({status})", one_line(errors.trim()))))
}

async fn end(child: &mut Child) -> std::io::Result<(std::process::ExitStatus, String)> {
    let errors = match child.stderr.take() {
        Some(errors) => tail(errors).await,
        None => String::new(),
    };
    Ok((child.wait().await?, errors))
}

fn refused(place: &RemotePlace, reason: &str) -> RestoreError {
    RestoreError::Refused(format!("{}@{}: {reason}", place.user, place.address))
}

/// For a line of sftp's: within quotes only these two are special, and no pattern is expanded.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_sftp() {
        assert_eq!(quoted(r#"/a "b" \c*"#), r#""/a \"b\" \\c*""#);
    }
}
