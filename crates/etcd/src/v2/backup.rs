//! `etcdctl backup` of the v2 store, from the write-ahead log of a running member (docs/facts/etcd.md#v2-backup).
//!
//! Without `--with-v3`, so it never waits for the lock on the member's database, and its own database is an empty one.
//! It only reads the data directory; the daemon's unit mounts that read-only. The directory is etcd's own, so this is the one
//! program that gets the daemon's capability.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nightshift_store::capability::Lent;
use nightshift_store::process::{self, Limits, ProcessError};

#[derive(Debug, thiserror::Error)]
pub enum V2BackupError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("cannot give `etcdctl backup` the capability to read the member's data")]
    Capability(#[source] io::Error),
    #[error("`etcdctl backup` of {} succeeded, but wrote no log to {}", .data_dir.display(), .target.display())]
    Empty { data_dir: PathBuf, target: PathBuf },
}

/// Writes a backup of the member in `data_dir` to `target`, which must not exist. Blocks.
pub fn back_up(etcdctl: &Path, data_dir: &Path, target: &Path, time: Duration) -> Result<(), V2BackupError> {
    let mut command = Command::new(etcdctl);
    command.arg("backup").arg("--data-dir").arg(data_dir).arg("--backup-dir").arg(target);
    command.env_clear().env("ETCDCTL_API", "2").env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let _lent = Lent::new().map_err(V2BackupError::Capability)?;
    process::output(&mut command, Limits { time, output: 1 << 20 })?;
    // A wrapper around etcdctl may succeed without having done anything.
    if !target.join("member/wal").is_dir() {
        return Err(V2BackupError::Empty { data_dir: data_dir.to_owned(), target: target.to_owned() });
    }
    Ok(())
}
