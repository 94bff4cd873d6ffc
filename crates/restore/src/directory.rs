//! The directory of a restore on the operator's machine. It contains every secret of the cluster, so only its owner can enter it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::name::HostName;
use nightshift_core::restore::commands::Commands;
use nightshift_core::restore::page::Page;
use nightshift_core::restore::steps::{Step, groups};
use nightshift_core::restore::{FILE, FORMAT, Plan};
use nightshift_core::set_path::SetId;
use nightshift_store::{AppendLog, open_own, read_bounded, remove_file, remove_tree, replace_file};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Doing as _, RestoreError};

/// Bytes of the plan: it lists each file of each machine.
const MAX_PLAN: u64 = 1 << 30;
const MAX_SMALL: u64 = 1 << 20;
const MAX_LOG: u64 = 64 << 20;

const PAGE: &str = "page.txt";
const CHECKED: &str = "check.json";
const LOG: &str = "log";
/// Exists once `undo` has begun.
const UNDONE: &str = "undone";
/// Begins the name of a directory until its plan is made.
const BEING_MADE: &str = ".restore-";
/// A directory that is younger may not be locked yet.
const MIN_AGE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    /// Of a directory whose plan is being made: without the lock, the next command removes it.
    _making: Option<Arc<File>>,
}

/// What a check of the machines found. `apply` requires one without reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    pub at: Timestamp,
    /// Why the plan cannot begin.
    pub reasons: Vec<String>,
    /// Nodes that were not reachable: they are done later.
    pub later: Vec<HostName>,
}

/// A line of the log: a step began, or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub at: Timestamp,
    pub step: String,
    pub host: HostName,
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<StepEnd>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepEnd {
    Done {
        changed: bool,
        notes: Vec<String>,
    },
    Failed {
        reason: String,
    },
    /// The node is not reachable; the same command does it later.
    Later {
        reason: String,
    },
}

impl Directory {
    /// A new directory beside which the plan's own is made when the plan has its name.
    pub fn create(parent: &Path) -> Result<Self, RestoreError> {
        remove_interrupted(parent)?;
        let private = fs::Permissions::from_mode(0o700);
        let path = tempfile::Builder::new()
            .prefix(BEING_MADE)
            .permissions(private)
            .tempdir_in(parent)
            .doing("create a directory in", parent)?;
        let directory = Self { path: path.keep(), _making: None };
        let lock = directory.lock()?;
        Ok(Self { _making: Some(Arc::new(lock)), ..directory })
    }

    /// Gives a new directory the plan's name, with the plan in it.
    pub fn publish(&self, plan: &Plan, parent: &Path) -> Result<Self, RestoreError> {
        let page = format!("{}\n{}", Page(plan), Commands(plan));
        replace_file(&self.path.join(PAGE), page.as_bytes())?;
        replace_file(&self.path.join(FILE), &serde_json::to_vec_pretty(plan)?)?;
        let path = parent.join(format!("restore-{}", plan.id));
        fs::rename(&self.path, &path).doing("rename the directory to", &path)?;
        nightshift_store::sync_directory(parent).doing("sync", parent)?;
        Ok(Self { path, _making: None })
    }

    /// The directory of a plan, and the plan.
    pub fn open(path: &Path) -> Result<(Self, Plan), RestoreError> {
        let not = |reason: String| RestoreError::NotARestore { path: path.to_owned(), reason };
        let bytes = read_bounded(&path.join(FILE), MAX_PLAN)?;
        let plan: Plan = serde_json::from_slice(&bytes).map_err(|error| not(error.to_string()))?;
        if plan.format > FORMAT {
            return Err(not(format!("its plan has format {}; use a newer nightshift", plan.format)));
        }
        // etcd's programs run in another working directory.
        Ok((Self { path: path.canonicalize().doing("open", path)?, _making: None }, plan))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One command at a time works on a plan.
    pub fn lock(&self) -> Result<File, RestoreError> {
        let file = open_own(&self.path)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(RestoreError::Refused(format!(
                "another command works on {}; follow it with `nightshift restore status`",
                self.path.display()
            ))),
            Err(TryLockError::Error(source)) => {
                Err(RestoreError::Io { doing: "lock", path: self.path.clone(), source })
            }
        }
    }

    /// Where a set is unpacked.
    pub fn set(&self, set: &SetId) -> PathBuf {
        self.sets().join(set.in_night())
    }

    pub fn sets(&self) -> PathBuf {
        self.path.join("sets")
    }

    /// The members' data, made from the snapshot.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub fn checked(&self) -> Result<Option<Checked>, RestoreError> {
        self.read(CHECKED)
    }

    pub fn set_checked(&self, checked: &Checked) -> Result<(), RestoreError> {
        self.write(CHECKED, checked)
    }

    /// Nothing of an undone plan is carried out any more.
    pub fn is_undone(&self) -> bool {
        self.path.join(UNDONE).exists()
    }

    pub fn set_undone(&self) -> Result<(), RestoreError> {
        Ok(replace_file(&self.path.join(UNDONE), b"")?)
    }

    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, RestoreError> {
        let Some(bytes) = nightshift_store::read_if_exists(&self.path.join(name), MAX_SMALL)? else {
            return Ok(None);
        };
        Ok(Some(serde_json::from_slice(&bytes)?))
    }

    pub fn write(&self, name: &str, value: &impl Serialize) -> Result<(), RestoreError> {
        Ok(replace_file(&self.path.join(name), &serde_json::to_vec_pretty(value)?)?)
    }

    pub fn log(&self) -> Result<AppendLog<LogLine>, RestoreError> {
        Ok(AppendLog::open(&self.path.join(LOG), MAX_LOG)?.0)
    }

    /// The last line of each step, by its number and host.
    pub fn last_lines(&self) -> Result<BTreeMap<(String, HostName), LogLine>, RestoreError> {
        let lines = self.log_lines()?.into_iter();
        Ok(lines.map(|line| ((line.step.clone(), line.host.clone()), line)).collect())
    }

    /// Whether the plan has begun, and how many of its steps are not done.
    pub fn open_steps(&self, plan: &Plan) -> Result<(bool, usize), RestoreError> {
        let last = self.last_lines()?;
        let is_open = |step: &Step| {
            let line = last.get(&(step.number.clone(), step.host.clone()));
            !matches!(line.and_then(|line| line.end.as_ref()), Some(StepEnd::Done { .. }))
        };
        let open = groups(plan).iter().flat_map(|group| &group.steps).filter(|step| is_open(step)).count();
        Ok((!last.is_empty(), open))
    }

    /// Removes the directory with all that is in it: the plan last, so that an interrupted removal is continued by another.
    pub fn remove(&self) -> Result<(), RestoreError> {
        for entry in fs::read_dir(&self.path).doing("list", &self.path)? {
            let entry = entry.doing("list", &self.path)?;
            let is_directory = entry.file_type().doing("read the type of", &entry.path())?.is_dir();
            if is_directory {
                remove_tree(&entry.path())?;
            } else if entry.file_name() != FILE {
                remove_file(&entry.path())?;
            }
        }
        Ok(remove_tree(&self.path)?)
    }

    pub fn log_lines(&self) -> Result<Vec<LogLine>, RestoreError> {
        Ok(AppendLog::read(&self.path.join(LOG), MAX_LOG)?)
    }
}

/// Removes what plans that were interrupted while they were made have left: it has secrets, and no name that an operator sees. One that
/// cannot be read or is another user's stays.
fn remove_interrupted(parent: &Path) -> Result<(), RestoreError> {
    for entry in fs::read_dir(parent).doing("list", parent)? {
        let entry = entry.doing("list", parent)?;
        if !entry.file_name().to_string_lossy().starts_with(BEING_MADE) {
            continue;
        }
        let Ok(file) = open_own(&entry.path()) else { continue };
        let age = file.metadata().and_then(|metadata| metadata.modified()).map(|at| at.elapsed());
        let is_old = age.is_ok_and(|age| age.is_ok_and(|age| age > MIN_AGE));
        if is_old && file.try_lock().is_ok() {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// A directory that only its owner can enter, and those above it.
pub fn private_directory(path: &Path) -> Result<(), RestoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).doing("create", path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_next_plan_removes_what_an_interrupted_one_has_left_and_nothing_that_is_in_use() {
        let parent = tempfile::tempdir().unwrap();
        let [used, left, young] = [(); 3].map(|()| Directory::create(parent.path()).unwrap());
        let unlocked = [left, young].map(|directory| directory.path().to_owned());
        let old = SystemTime::now() - 2 * MIN_AGE;
        for path in [used.path(), &unlocked[0]] {
            fs::write(path.join("secret"), "").unwrap();
            File::open(path).unwrap().set_modified(old).unwrap();
        }
        let next = Directory::create(parent.path()).unwrap();
        let exists = [used.path(), &unlocked[0], &unlocked[1], next.path()].map(Path::exists);
        assert_eq!(exists, [true, false, true, true]);
    }
}
