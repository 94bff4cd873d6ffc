//! Opens paths one component after the other, and never follows a symlink.
//!
//! The daemon can read every file of the host, but users of the host can change some paths: a symlink that one puts
//! under /etc/origin must not make the daemon read /etc/shadow.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

/// Why a path cannot be used. The reasons differ in what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    #[error("absent")]
    Absent,
    #[error("absent, or hidden by the sandbox; allow it with BindReadOnlyPaths= in a drop-in of the unit")]
    Hidden,
    #[error(
        "hidden by InaccessiblePaths= of the unit; allow it with a drop-in that sets that without this file"
    )]
    Inaccessible,
    #[error("permission denied")]
    Denied,
    /// A component before the last is a symlink.
    #[error("{0} is a symlink; use the path of its target")]
    ThroughLink(String),
    #[error("neither a file, a directory nor a symlink")]
    Special,
    /// Another user may have linked it into the directory.
    #[error(
        "it has further hard links, and another owner than its directory; store it there as a file of its own"
    )]
    ForeignLink,
    /// A manifest cannot contain it.
    #[error("a symlink whose target is not UTF-8")]
    NotText,
    #[error("{0}")]
    Other(io::Error),
}

impl Missing {
    /// Whether there is something that cannot be read.
    pub const fn is_trouble(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    pub fn of(errno: Errno, path: &Path) -> Self {
        match errno {
            Errno::NOENT if is_sandboxed(path) => Self::Hidden,
            Errno::NOENT => Self::Absent,
            Errno::ACCESS | Errno::PERM => Self::Denied,
            other => Self::Other(other.into()),
        }
    }
}

/// Where the unit's `ProtectHome=tmpfs` shows empty directories.
fn is_sandboxed(path: &Path) -> bool {
    ["/home", "/root", "/run/user"].iter().any(|hidden| path.starts_with(hidden))
}

/// Opens the directory that contains `path`, without following a symlink.
pub fn open_parent(path: &Path) -> Result<OwnedFd, Missing> {
    open_directory(path.parent().unwrap_or(Path::new("/")))
}

/// Opens a directory, without following a symlink.
pub fn open_directory(path: &Path) -> Result<OwnedFd, Missing> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut directory =
        rustix::fs::open("/", flags, Mode::empty()).map_err(|errno| Missing::of(errno, path))?;
    for component in path.components() {
        let Component::Normal(name) = component else { continue };
        directory = match openat(&directory, name, flags, Mode::empty()) {
            Ok(next) => next,
            // With O_DIRECTORY, a symlink gives ENOTDIR.
            Err(Errno::LOOP | Errno::NOTDIR) if is_link(&directory, name) => {
                return Err(Missing::ThroughLink(name.to_string_lossy().into_owned()));
            }
            Err(Errno::NOTDIR) => return Err(Missing::Absent),
            Err(errno) => return Err(Missing::of(errno, path)),
        };
    }
    Ok(directory)
}

/// Opens a file for reading. Does not wait for the writer of a FIFO, and does not follow a symlink.
pub fn open_file(parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<File, Missing> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = openat(parent, name, flags, Mode::empty()).map_err(|errno| Missing::of(errno, path))?;
    if is_inaccessible(&file) { Err(Missing::Inaccessible) } else { Ok(File::from(file)) }
}

/// In place of a file that a unit may not access, systemd mounts an empty one of its own, which the daemon's capability reads.
fn is_inaccessible(file: &OwnedFd) -> bool {
    let same = |one: rustix::fs::Stat, other: rustix::fs::Stat| {
        (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
    };
    let mounted = rustix::fs::stat("/run/systemd/inaccessible/reg");
    mounted.is_ok_and(|mounted| rustix::fs::fstat(file).is_ok_and(|file| same(file, mounted)))
}

fn is_link(directory: &OwnedFd, name: &OsStr) -> bool {
    rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink())
}
