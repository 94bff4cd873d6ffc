//! The state directory of restores: one act at a time, one plan at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nightshift_core::restore::id::PlanId;
use nightshift_store::{
    IoContext as _, StoreError, open_own, read_if_exists, remove_file, replace_file, sync_directory,
};

use super::error::TargetError;
use super::journal::Journal;

/// Below the machine's root.
pub const STATE: &str = "var/lib/nightshift-restore";
const CURRENT: &str = "current";
/// Units with a drop-in of ours do not start while this exists.
const HOLD: &str = "hold";
const LOCK: &str = "lock";
const JOURNAL: &str = "journal";
/// Of `current`, in bytes.
const MAX_CURRENT: u64 = 200;
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The state directory, locked.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
    pub plan: PlanId,
    pub journal: Journal,
    _lock: File,
}

impl State {
    pub fn open(root: &Path, plan: &PlanId, lock_timeout: Duration) -> Result<Self, TargetError> {
        let directory = root.join(STATE);
        create(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).on("chmod", &directory)?;
        open_own(&directory)?;
        let lock = lock(&directory.join(LOCK), lock_timeout)?;
        let current = current(root)?;
        if let Some(other) = current.as_ref().filter(|current| *current != plan) {
            return Err(TargetError::OtherPlan(other.clone()));
        }
        let journal = directory.join(plan.to_string());
        create(&journal)?;
        sync_directory(&directory).on("sync", &directory)?;
        if current.is_none() {
            replace_file(&directory.join(CURRENT), plan.to_string().as_bytes())?;
        }
        let journal = Journal::open(&journal.join(JOURNAL))?;
        Ok(Self { directory, plan: plan.clone(), journal, _lock: lock })
    }

    pub fn is_holding(&self) -> bool {
        self.directory.join(HOLD).exists()
    }

    /// On disk when this returns. False if it was there.
    pub fn hold(&self) -> Result<bool, StoreError> {
        if self.is_holding() {
            sync_directory(&self.directory).on("sync", &self.directory)?;
            return Ok(false);
        }
        replace_file(&self.directory.join(HOLD), self.plan.to_string().as_bytes())?;
        Ok(true)
    }

    /// Nothing is held any more, and another plan may begin.
    pub fn release(&self) -> Result<(), StoreError> {
        for name in [HOLD, CURRENT] {
            remove_file(&self.directory.join(name))?;
        }
        sync_directory(&self.directory).on("sync", &self.directory)
    }
}

fn create(directory: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).on("create", directory)
}

fn lock(path: &Path, timeout: Duration) -> Result<File, TargetError> {
    let file = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(path);
    let file = file.on("open", path)?;
    let until = Instant::now() + timeout;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(POLL_INTERVAL),
            Err(TryLockError::WouldBlock) => return Err(TargetError::Busy),
            Err(TryLockError::Error(error)) => Err(error).on("lock", path)?,
        }
    }
}

/// The plan that is not finished on this machine.
pub fn current(root: &Path) -> Result<Option<PlanId>, TargetError> {
    let path = root.join(STATE).join(CURRENT);
    let Some(bytes) = read_if_exists(&path, MAX_CURRENT)? else { return Ok(None) };
    let name = String::from_utf8_lossy(&bytes).into_owned();
    let refused = |error| {
        TargetError::refused(format!("{}: {error}; remove the file if no restore runs", path.display()))
    };
    name.trim().parse().map(Some).map_err(refused)
}
