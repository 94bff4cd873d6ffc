//! A data directory proved by replay: a scratch etcd of its own is started on a copy of it, and takes a write.
//!
//! It listens on sockets in the scratch folder alone, which nobody else can enter: a port on loopback would show the
//! keys to everyone on the host.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use super::{V2, V2Error};
use crate::trial::{REPLAY, Scratch, ScratchError};
use nightshift_store::offload;

const LOOK_EVERY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(120);
/// etcd makes a socket of this name, in the folder where it was started, of the URL `unix://replay:1`.
const CLIENT: &str = "replay:1";
const PEER: &str = "replay:2";

/// What a replayed copy held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    pub keys: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("there is no {} to be run", .program.display())]
    NoEtcd { program: PathBuf, source: io::Error },
    #[error("there is no place to replay it in")]
    Scratch(#[from] ScratchError),
    #[error("the copy to be replayed cannot be made at {}", .folder.display())]
    Copy { folder: PathBuf, source: io::Error },
    #[error("the scratch etcd ended ({how}) instead of replaying it: {words}")]
    Ended { how: ExitStatus, words: String },
    #[error("the scratch etcd was not there after {} s", .after.as_secs())]
    TooLong { after: Duration },
    #[error("the scratch etcd does not serve what it replayed")]
    V2(#[from] V2Error),
    #[error("the scratch etcd cannot be watched")]
    Lost(#[source] io::Error),
}

impl ReplayError {
    /// Whether it speaks against the copy, rather than of this host.
    pub fn is_of_the_copy(&self) -> bool {
        match self {
            // One that was killed, for want of memory, says nothing of it.
            Self::Ended { how, .. } => how.code().is_some(),
            Self::V2(error) => error.is_of_the_copy(),
            _ => false,
        }
    }
}

/// Replays the v2 store of `data_dir` in a folder of its own below `scratch`, and removes that again.
pub async fn replay(
    etcd: &Path,
    data_dir: &Path,
    scratch: &Path,
    within: Duration,
) -> Result<Replayed, ReplayError> {
    let (source, root) = (data_dir.join("member"), scratch.to_owned());
    let scratch = offload::run(move || -> Result<Scratch, ReplayError> {
        let scratch = Scratch::take(&root, REPLAY)?;
        let target = scratch.path("data");
        fs::create_dir(&target)
            .and_then(|()| copy_folder(&source, &target.join("member")))
            .map_err(|source| ReplayError::Copy { folder: target, source })?;
        Ok(scratch)
    })
    .await?;
    let result = in_folder(etcd, scratch.folder(), within).await;
    offload::run(move || drop(scratch)).await;
    result
}

async fn in_folder(etcd: &Path, folder: &Path, within: Duration) -> Result<Replayed, ReplayError> {
    let until = Instant::now() + within;
    let log = folder.join("etcd.log");
    let mut child = start(etcd, folder, &log)?;
    let v2 = V2::on_socket(&folder.join(CLIENT), PATIENCE);
    loop {
        if let Some(how) = child.try_wait().map_err(ReplayError::Lost)? {
            let words = offload::run(move || last_line(&log)).await;
            return Err(ReplayError::Ended { how, words });
        }
        // A write goes only once it has a leader, itself.
        match v2.try_canary("replayed").await {
            Ok(()) => break,
            Err(error) if Instant::now() >= until => {
                return Err(match error {
                    V2Error::Unreachable { .. } => ReplayError::TooLong { after: within },
                    error => error.into(),
                });
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
    let keys = v2.count_keys().await?;
    child.kill().await.map_err(ReplayError::Lost)?;
    Ok(Replayed { keys })
}

fn start(etcd: &Path, folder: &Path, log: &Path) -> Result<Child, ReplayError> {
    let log = File::create(log).map_err(|source| ReplayError::Copy { folder: folder.to_owned(), source })?;
    Command::new(etcd)
        .args(["--name", "replay", "--data-dir", "data", "--force-new-cluster"])
        .args(["--listen-client-urls", &format!("unix://{CLIENT}")])
        .args(["--advertise-client-urls", &format!("http://{CLIENT}")])
        .args(["--listen-peer-urls", &format!("unix://{PEER}")])
        .args(["--initial-advertise-peer-urls", &format!("http://{PEER}")])
        .args(["--initial-cluster", &format!("replay=http://{PEER}")])
        .current_dir(folder)
        .env_clear()
        // Not as a flag: an etcd that serves v2 anyway may not know it.
        .env("ETCD_ENABLE_V2", "true")
        .env("ETCD_UNSUPPORTED_ARCH", "arm64")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| ReplayError::NoEtcd { program: etcd.to_owned(), source })
}

fn last_line(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().chars().take(400).collect()
}

/// Folders and regular files, as `etcdctl backup` writes them and nothing else does.
fn copy_folder(source: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let (from, to) = (entry.path(), target.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_folder(&from, &to)?;
        } else if kind.is_file() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
