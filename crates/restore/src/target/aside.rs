//! Where things of the machine are moved that a plan replaces: on the same file system, in a place of this plan's own, from which
//! nothing is ever removed.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use nightshift_core::restore::id::PlanId;
use nightshift_store::StoreError;
use rustix::fs::Stat;

use super::dir::{Dir, file_type, split};
use super::state::STATE;

/// Names of ours in directories of the machine begin so. The kubelet, systemd and cron skip hidden files.
pub const PREFIX: &str = ".nightshift-restore-";
/// A path is moved aside as often as something else is put there.
const MAX_NUMBER: usize = 1000;

/// What is moved aside, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is replaced.
    Before,
    /// The manifest of a static pod, until the pod is started again.
    Manifests,
    /// The plan had put it in place, and is undone.
    Undone,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Manifests => "manifests",
            Self::Undone => "undone",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Aside<'a> {
    pub root: &'a Path,
    pub plan: &'a PlanId,
}

/// Where something can be moved.
struct Place {
    /// A directory of this plan's own, relative to the machine's root.
    within: String,
    /// Relative to that.
    path: String,
}

struct Kept {
    path: PathBuf,
    /// A call that was killed gave it this name.
    was_there: bool,
}

/// A name that something has aside.
pub struct Found {
    pub directory: Dir,
    pub name: OsString,
}

impl Found {
    pub fn path(&self) -> PathBuf {
        self.directory.path.join(&self.name)
    }
}

impl Aside<'_> {
    /// Gives what is at a path a name aside, and removes the old name only if it is a directory: a file can then be replaced
    /// without an instant in which there is none. Returns where it is, as a path below the machine's root.
    pub fn keep(&self, kind: Kind, relative: &str, parent: &Dir, stat: &Stat) -> Result<PathBuf, StoreError> {
        let is_directory = file_type(stat).is_dir();
        let kept = self.put(kind, relative, parent, stat, |name, to, new| {
            if is_directory {
                return parent.rename(name, to, new);
            }
            match parent.link(name, to, new) {
                // A file system without hard links.
                Err(error)
                    if is(&error, rustix::io::Errno::PERM) || is(&error, rustix::io::Errno::OPNOTSUPP) =>
                {
                    parent.rename(name, to, new)
                }
                linked => linked,
            }
        })?;
        Ok(kept.path)
    }

    /// Moves what is at a path aside.
    pub fn take(&self, kind: Kind, relative: &str, parent: &Dir, stat: &Stat) -> Result<PathBuf, StoreError> {
        let kept = self.put(kind, relative, parent, stat, |name, to, new| parent.rename(name, to, new))?;
        if kept.was_there {
            parent.remove(split(relative).1)?;
        }
        parent.sync()?;
        Ok(kept.path)
    }

    /// The newest of what was moved aside from a path.
    pub fn newest(&self, kind: Kind, relative: &str, parent: &Dir) -> Result<Option<Found>, StoreError> {
        for place in self.places(kind, relative, parent)? {
            let (above, name) = split(&place.path);
            let Some(directory) = Dir::find(self.root, &format!("{}/{above}", place.within))? else {
                continue;
            };
            let mut newest = None;
            for number in 1..=MAX_NUMBER {
                let name = numbered(name, number);
                if directory.entry(&name)?.is_none() {
                    break;
                }
                newest = Some(name);
            }
            if let Some(name) = newest {
                return Ok(Some(Found { directory, name }));
            }
        }
        Ok(None)
    }

    fn put(
        &self,
        kind: Kind,
        relative: &str,
        parent: &Dir,
        stat: &Stat,
        put: impl Fn(&OsStr, &Dir, &OsStr) -> Result<(), StoreError>,
    ) -> Result<Kept, StoreError> {
        let name = split(relative).1;
        let mut other_mount = None;
        for place in self.places(kind, relative, parent)? {
            let (above, wanted) = split(&place.path);
            // Another user may be able to write to the directory in which ours is.
            let to =
                Dir::make(self.root, &place.within, Some(0o700))?.require_own()?.make_below(above, 0o700)?;
            let (new, was_there) = free_name(&to, wanted, stat)?;
            let placed = if was_there { Ok(()) } else { put(name, &to, &new) };
            match placed {
                // The same device, but another mount of it.
                Err(error) if is_other_mount(&error) => other_mount = Some(error),
                placed => {
                    placed?;
                    to.sync()?;
                    return Ok(Kept { path: to.path.join(new), was_there });
                }
            }
        }
        Err(other_mount.unwrap_or_else(|| StoreError::Io {
            action: "move aside",
            path: parent.path.join(name),
            source: std::io::ErrorKind::CrossesDevices.into(),
        }))
    }

    /// Where something of this directory can be moved: the state directory, else a directory of ours at the mount point.
    fn places(&self, kind: Kind, relative: &str, parent: &Dir) -> Result<Vec<Place>, StoreError> {
        let device = parent.stat()?.st_dev;
        let mut places = Vec::new();
        if let Some(state) = Dir::find(self.root, STATE)?
            && state.stat()?.st_dev == device
        {
            places.push(self.place(format!("{STATE}/{}", self.plan), kind, relative)?);
        }
        let mut above = Dir::root(self.root)?;
        let mut path = String::new();
        let mut names = split(relative).0.split('/').filter(|name| !name.is_empty());
        loop {
            if above.stat()?.st_dev == device {
                places.push(self.place(format!("{path}{PREFIX}{}", self.plan), kind, relative)?);
            }
            let Some(name) = names.next() else { return Ok(places) };
            let Some(next) = above.open(OsStr::new(name))? else { return Ok(places) };
            above = next;
            path = format!("{path}{name}/");
        }
    }

    /// The first directory in which nothing but directories is on the way to a path: what was moved aside before may be a file
    /// where the path has a directory now.
    fn place(&self, within: String, kind: Kind, relative: &str) -> Result<Place, StoreError> {
        let kind = OsStr::new(kind.name());
        let mut number = 1;
        loop {
            let path = format!("{}/{relative}", numbered(kind, number).display());
            if number == MAX_NUMBER || Dir::is_clear(self.root, &format!("{within}/{}", split(&path).0))? {
                return Ok(Place { within, path });
            }
            number += 1;
        }
    }
}

/// Whether something cannot be moved because it is on another mount: a file that is a mount point itself is on none of its directory's.
pub fn is_other_mount(error: &StoreError) -> bool {
    is(error, rustix::io::Errno::XDEV)
}

fn is(error: &StoreError, errno: rustix::io::Errno) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.raw_os_error() == Some(errno.raw_os_error()))
}

/// The first number under which there is nothing, or this very file.
pub fn free_name(directory: &Dir, wanted: &OsStr, stat: &Stat) -> Result<(OsString, bool), StoreError> {
    let mut name = wanted.to_owned();
    for number in 2..=MAX_NUMBER {
        match directory.entry(&name)? {
            None => return Ok((name, false)),
            Some(there) if (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino) => {
                return Ok((name, true));
            }
            Some(_) => name = numbered(wanted, number),
        }
    }
    Ok((name, false))
}

fn numbered(name: &OsStr, number: usize) -> OsString {
    let mut name = name.to_owned();
    if number > 1 {
        name.push(format!(".{number}"));
    }
    name
}
