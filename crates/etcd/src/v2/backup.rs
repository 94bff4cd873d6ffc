//! `etcdctl backup` of the v2 store, from the WAL of a member that runs (docs/facts/etcd.md#v2-backup).
//!
//! Without `--with-v3`, so it never waits for the lock on the member's database, and its own database is an empty one.
//! It only reads the data directory; the daemon's unit mounts that read-only.

use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// What a failed one says of itself; the rest is dropped.
const MOST_WORDS: u64 = 2048;
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
pub enum V2BackupError {
    #[error("there is no {} to be run: install etcdctl, or name its folder as `etcd-tools` in [drill]", .program.display())]
    NoEtcdctl { program: PathBuf, source: io::Error },
    #[error("`etcdctl backup` of {} cannot be waited for", .data_dir.display())]
    Lost { data_dir: PathBuf, source: io::Error },
    #[error("`etcdctl backup` of {} took longer than {} s", .data_dir.display(), .after.as_secs())]
    TooLong { data_dir: PathBuf, after: Duration },
    #[error("`etcdctl backup` of {} ended with {how}: {words}", .data_dir.display())]
    Failed { data_dir: PathBuf, how: String, words: String },
    #[error("`etcdctl backup` of {} ended well, but wrote nothing to {}", .data_dir.display(), .target.display())]
    Empty { data_dir: PathBuf, target: PathBuf },
}

/// Writes a backup of the member in `data_dir` to `target`, which must not be there yet. Blocks.
pub fn back_up(
    etcdctl: &Path,
    data_dir: &Path,
    target: &Path,
    within: Duration,
) -> Result<(), V2BackupError> {
    let mut child = Command::new(etcdctl)
        .arg("backup")
        .arg("--data-dir")
        .arg(data_dir)
        .arg("--backup-dir")
        .arg(target)
        .env_clear()
        .env("ETCDCTL_API", "2")
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| V2BackupError::NoEtcdctl { program: etcdctl.to_owned(), source })?;
    let data_dir = data_dir.to_owned();
    let (status, words) = match wait(&mut child, within) {
        Ok(Some(ended)) => ended,
        Ok(None) => return Err(V2BackupError::TooLong { data_dir, after: within }),
        Err(source) => return Err(V2BackupError::Lost { data_dir, source }),
    };
    if !status.success() {
        return Err(V2BackupError::Failed { data_dir, how: status.to_string(), words });
    }
    // A wrapper around etcdctl may end well without having done anything.
    if !target.join("member/wal").is_dir() {
        return Err(V2BackupError::Empty { data_dir, target: target.to_owned() });
    }
    Ok(())
}

/// How it ended and what it said last; `None` where it was ended here. It never outlives this.
fn wait(child: &mut Child, within: Duration) -> io::Result<Option<(std::process::ExitStatus, String)>> {
    let until = Instant::now() + within;
    let stderr = child.stderr.take();
    std::thread::scope(|scope| {
        let words = scope.spawn(move || stderr.map_or_else(String::new, last_words));
        let ended = loop {
            match child.try_wait() {
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK_EVERY),
                ended => break ended,
            }
        };
        let _nobody_left = rustix::process::kill_process_group(Pid::from_child(child), Signal::KILL);
        let status = child.wait()?;
        let words = words.join().unwrap_or_default();
        Ok(ended?.map(|_| (status, words)))
    })
}

/// The end of what it printed, on one line. All of it is read, so that it never waits for us.
fn last_words(mut stderr: impl io::Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..read]);
        let surplus = kept.len().saturating_sub(MOST_WORDS as usize);
        kept.drain(..surplus);
    }
    let mut words = String::new();
    let _only_text = kept.as_slice().read_to_string(&mut words);
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}
