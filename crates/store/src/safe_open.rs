//! Opening by descriptors, one component after the other, never through a link.
//!
//! The daemon may read every file of the host, so a path that somebody else can change is a weapon:
//! a link swapped in under /etc/origin must not make it read /etc/shadow.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

/// Why a path was not taken: three different reasons, for they have three different cures.
#[derive(Debug)]
pub enum Missing {
    Absent,
    Hidden,
    Denied,
    /// A component before the last is a link.
    ThroughLink(String),
    /// Neither a file, a folder nor a link.
    Special,
    /// A symlink to a name that a manifest cannot hold.
    NotText,
    Other(io::Error),
}

impl Missing {
    /// Whether something is there, and could not be read.
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

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Hidden => f.write_str(
                "absent or hidden by the sandbox: allow it with BindReadOnlyPaths= in a drop-in of the unit",
            ),
            Self::Denied => f.write_str("denied: the daemon may not read it"),
            Self::ThroughLink(link) => write!(f, "{link} is a symlink: name the path that it leads to"),
            Self::Special => f.write_str("neither a file, a folder nor a symlink"),
            Self::NotText => f.write_str("a symlink whose target is not UTF-8"),
            Self::Other(error) => write!(f, "{error}"),
        }
    }
}

/// Where the unit's `ProtectHome=tmpfs` shows empty folders.
fn is_sandboxed(path: &Path) -> bool {
    ["/home", "/root", "/run/user"].iter().any(|hidden| path.starts_with(hidden))
}

/// Opens the folder that holds `path`, following no link.
pub fn open_parent(path: &Path) -> Result<OwnedFd, Missing> {
    open_folder(path.parent().unwrap_or(Path::new("/")))
}

/// Opens a folder to be listed or looked into, following no link.
pub fn open_folder(path: &Path) -> Result<OwnedFd, Missing> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut folder = rustix::fs::open("/", flags, Mode::empty()).map_err(|errno| Missing::of(errno, path))?;
    for component in path.components() {
        let Component::Normal(name) = component else { continue };
        folder = match openat(&folder, name, flags, Mode::empty()) {
            Ok(next) => next,
            // With O_DIRECTORY a link is reported as "not a folder".
            Err(Errno::LOOP | Errno::NOTDIR) if is_link(&folder, name) => {
                return Err(Missing::ThroughLink(name.to_string_lossy().into_owned()));
            }
            Err(Errno::NOTDIR) => return Err(Missing::Absent),
            Err(errno) => return Err(Missing::of(errno, path)),
        };
    }
    Ok(folder)
}

/// Opens a file for reading. Never blocks on a FIFO, never follows a link.
pub fn open_file(parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<File, Missing> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = openat(parent, name, flags, Mode::empty()).map_err(|errno| Missing::of(errno, path))?;
    Ok(File::from(file))
}

fn is_link(folder: &OwnedFd, name: &OsStr) -> bool {
    rustix::fs::statat(folder, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink())
}
