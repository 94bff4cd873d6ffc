//! An opened directory, and every change that an act makes in one. Names are looked up in what was opened, component by component,
//! so that no link is followed: another user may be able to write to a directory in which root puts files.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use nightshift_core::manifest::is_safe_path;
use nightshift_store::{IoContext as _, StoreError, sync_file};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::error::TargetError;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Of a directory above a file of the plan, if it neither exists nor is in the plan.
const MISSING_PARENT_MODE: u32 = 0o755;

#[derive(Debug)]
pub struct Dir {
    pub file: File,
    /// As on this machine, below its root.
    pub path: PathBuf,
}

/// An absolute path of the plan, without the slash at its begin. It is safe to walk along.
pub fn relative(path: &str) -> Result<&str, TargetError> {
    let relative = path.strip_prefix('/').map(|path| path.trim_end_matches('/'));
    relative.filter(|path| is_safe_path(path)).ok_or_else(|| {
        let shown: String = path.escape_debug().take(200).collect();
        TargetError::refused(format!("`{shown}` is not an absolute path without `.` and `..`"))
    })
}

/// The directory part of a relative path, and the name.
pub fn split(relative: &str) -> (&str, &OsStr) {
    let (parent, name) = relative.rsplit_once('/').unwrap_or(("", relative));
    (parent, OsStr::new(name))
}

fn names(relative: &str) -> impl Iterator<Item = &OsStr> {
    relative.split('/').filter(|name| !name.is_empty()).map(OsStr::new)
}

pub fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

impl Dir {
    /// The machine's root, whose own path may have links.
    pub fn root(root: &Path) -> Result<Self, StoreError> {
        let opened = rustix::fs::open(root, DIRECTORY - OFlags::NOFOLLOW, Mode::empty()).on("open", root)?;
        Ok(Self { file: opened.into(), path: root.to_owned() })
    }

    /// The directory at a relative path; `None` if it does not exist.
    pub fn find(root: &Path, relative: &str) -> Result<Option<Self>, StoreError> {
        let mut directory = Self::root(root)?;
        for name in names(relative) {
            let Some(next) = directory.open(name)? else { return Ok(None) };
            directory = next;
        }
        Ok(Some(directory))
    }

    /// The directory at a relative path. Missing ones on the way to it are created with this mode, or as usual.
    pub fn make(root: &Path, relative: &str, mode: Option<u32>) -> Result<Self, StoreError> {
        Self::root(root)?.make_below(relative, mode.unwrap_or(MISSING_PARENT_MODE))
    }

    /// The directory at a path relative to this one, created where it is missing.
    pub fn make_below(self, relative: &str, mode: u32) -> Result<Self, StoreError> {
        names(relative).try_fold(self, |directory, name| directory.make_child(name, mode))
    }

    pub fn try_clone(&self) -> Result<Self, StoreError> {
        Ok(Self { file: self.file.try_clone().on("open", &self.path)?, path: self.path.clone() })
    }

    /// Whether a directory can be created at a relative path: nothing but directories is on the way to it.
    pub fn is_clear(root: &Path, relative: &str) -> Result<bool, StoreError> {
        let mut directory = Self::root(root)?;
        for name in names(relative) {
            if directory.entry(name)?.is_some_and(|stat| !file_type(&stat).is_dir()) {
                return Ok(false);
            }
            let Some(next) = directory.open(name)? else { return Ok(true) };
            directory = next;
        }
        Ok(true)
    }

    /// The directory of this name in it; `None` if it does not exist. A link or a file is an error.
    pub fn open(&self, name: &OsStr) -> Result<Option<Self>, StoreError> {
        let path = self.path.join(name);
        match rustix::fs::openat(&self.file, name, DIRECTORY, Mode::empty()) {
            Ok(opened) => Ok(Some(Self { file: opened.into(), path })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                let is_link = self.entry(name)?.is_some_and(|stat| file_type(&stat).is_symlink());
                let reason = if is_link {
                    "it is a symlink on this machine and a directory in the backup; replace it by a directory, or leave its files out"
                } else {
                    "it is not a directory on this machine; move it away"
                };
                Err(io::Error::other(reason)).on("open", &path)
            }
            Err(errno) => Err(errno).on("open", &path),
        }
    }

    pub fn make_child(&self, name: &OsStr, mode: u32) -> Result<Self, StoreError> {
        if let Some(existing) = self.open(name)? {
            return Ok(existing);
        }
        self.create(name, mode)
    }

    /// Creates a directory that does not exist.
    pub fn create(&self, name: &OsStr, mode: u32) -> Result<Self, StoreError> {
        let path = self.changing(name)?;
        rustix::fs::mkdirat(&self.file, name, Mode::from_raw_mode(mode)).on("create", &path)?;
        self.sync()?;
        self.open(name)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)).on("open", &path)
    }

    /// What has this name in it; a link is not followed.
    pub fn entry(&self, name: &OsStr) -> Result<Option<Stat>, StoreError> {
        match rustix::fs::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).on("stat", &self.path.join(name)),
        }
    }

    pub fn stat(&self) -> Result<Stat, StoreError> {
        rustix::fs::fstat(&self.file).on("stat", &self.path)
    }

    /// In the order of their names.
    pub fn names(&self) -> Result<Vec<OsString>, StoreError> {
        let entries = rustix::fs::Dir::read_from(&self.file).on("list", &self.path)?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.on("list", &self.path)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Opens a file for reading, without waiting for the writer of a pipe.
    pub fn open_file(&self, name: &OsStr) -> Result<File, StoreError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = rustix::fs::openat(&self.file, name, flags, Mode::empty());
        Ok(opened.on("open", &self.path.join(name))?.into())
    }

    pub fn read_link(&self, name: &OsStr) -> Result<Vec<u8>, StoreError> {
        let target = rustix::fs::readlinkat(&self.file, name, Vec::new());
        Ok(target.on("read", &self.path.join(name))?.into_bytes())
    }

    /// Creates a file of root's that does not exist.
    pub fn create_file(&self, name: &OsStr) -> Result<File, StoreError> {
        let path = self.changing(name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let created = rustix::fs::openat(&self.file, name, flags, Mode::from_raw_mode(0o600));
        Ok(created.on("create", &path)?.into())
    }

    /// Creates a link that does not exist, and opens it as what it is.
    pub fn create_link(&self, name: &OsStr, target: &str) -> Result<File, StoreError> {
        let path = self.changing(name)?;
        rustix::fs::symlinkat(target, &self.file, name).on("create", &path)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.file, name, flags, Mode::empty()).on("open", &path)?;
        Ok(opened.into())
    }

    pub fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> Result<(), StoreError> {
        let path = self.changing(name)?;
        rustix::fs::renameat(&self.file, name, &to.file, new).on("move", &path)
    }

    /// Gives a file or link a further name.
    pub fn link(&self, name: &OsStr, to: &Self, new: &OsStr) -> Result<(), StoreError> {
        let path = self.changing(name)?;
        rustix::fs::linkat(&self.file, name, &to.file, new, AtFlags::empty()).on("link", &path)
    }

    /// Removes a file or link of ours, if it exists.
    pub fn remove(&self, name: &OsStr) -> Result<(), StoreError> {
        self.remove_as(name, AtFlags::empty())
    }

    /// Removes an empty directory, if it exists. One that is not empty stays.
    pub fn remove_if_empty(&self, name: &OsStr) -> Result<(), StoreError> {
        match self.remove_as(name, AtFlags::REMOVEDIR) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => removed,
        }
    }

    fn remove_as(&self, name: &OsStr, flags: AtFlags) -> Result<(), StoreError> {
        let path = self.changing(name)?;
        match rustix::fs::unlinkat(&self.file, name, flags) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed.on("remove", &path),
        }
    }

    /// Removes a directory of ours with all that is in it.
    pub fn remove_tree(&self, name: &OsStr) -> Result<(), StoreError> {
        let path = self.changing(name)?;
        match std::fs::remove_dir_all(self.by_descriptor(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.on("remove", &path),
        }
    }

    /// A path that leads to a name in this directory, whatever its own path leads to meanwhile.
    pub fn by_descriptor(&self, name: &OsStr) -> PathBuf {
        Path::new("/proc/self/fd").join(self.file.as_raw_fd().to_string()).join(name)
    }

    pub fn sync(&self) -> Result<(), StoreError> {
        sync_file(&self.file).on("sync", &self.path)
    }

    /// Whether no user but root, or the user of this process, can change what is in it.
    pub fn require_own(self) -> Result<Self, StoreError> {
        let stat = self.stat()?;
        if stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o022 == 0 {
            return Ok(self);
        }
        Err(io::Error::other("another user can change it; move it away")).on("use", &self.path)
    }

    fn changing(&self, name: &OsStr) -> Result<PathBuf, StoreError> {
        let path = self.path.join(name);
        #[cfg(test)]
        super::crash::point(&path)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_of_the_plan_is_absolute_and_has_no_way_up() {
        assert_eq!(relative("/etc/origin/").unwrap(), "etc/origin");
        for bad in ["etc/origin", "/", "", "/etc/../root", "/etc/./x", "/etc//x", "/a\0b", "//etc"] {
            assert!(matches!(relative(bad), Err(TargetError::Refused(_))), "{bad:?}");
        }
    }

    #[test]
    fn no_link_in_a_path_is_followed() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("elsewhere/deeper")).unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        symlink("../elsewhere", root.path().join("etc/origin")).unwrap();
        for path in ["etc/origin", "etc/origin/deeper"] {
            let error = nightshift_core::chain(&Dir::make(root.path(), path, None).unwrap_err());
            assert!(error.contains("etc/origin: it is a symlink on this machine"), "{error}");
        }
        std::fs::write(root.path().join("etc/file"), "").unwrap();
        let error = nightshift_core::chain(&Dir::find(root.path(), "etc/file/x").unwrap_err());
        assert!(error.contains("it is not a directory"), "{error}");
        assert!(Dir::find(root.path(), "etc/none/x").unwrap().is_none());
    }
}
