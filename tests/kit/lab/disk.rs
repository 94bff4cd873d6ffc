//! A host's disks: an overlay over the shared image, and the file system that a power cut takes back to what was on the
//! platter.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cmd::{Cmd, poll};
use super::error::{Error, Result};

/// Lays the host's own layer over the image; what the host writes lands in `layer/upper`.
pub fn mount_overlay(image: &Path, layer: &Path, root: &Path) -> Result<()> {
    let [upper, work] = ["upper", "work"].map(|name| layer.join(name));
    for folder in [&upper, &work, root] {
        fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={}", image.display(), upper.display(), work.display());
    Cmd::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(root).run().map(drop)
}

/// Unmounts everything below a folder, the innermost first; loop devices go with their mounts.
pub fn unmount_all_below(folder: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(Error::io("reading the mounts"))?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| Path::new(point).starts_with(folder)).collect::<Vec<_>>().iter().rev()
    {
        unmount(Path::new(point))?;
    }
    Ok(())
}

/// The last process of a dead host may hold its mounts for some milliseconds.
pub fn unmount(point: &Path) -> Result<()> {
    poll(&format!("unmounting {}", point.display()), Duration::from_secs(10), || {
        (Cmd::new("umount").arg(point).run()).map_err(|error| error.to_string())
    })
    .map(drop)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileSystem {
    Ext4,
    /// Needs at least 300 MiB.
    Xfs,
}

/// What is under `/var/lib/nightshift` of a host, or all that the host writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSpec {
    pub file_system: FileSystem,
    pub mib: u64,
}

/// A file system in a file, mounted beside the host.
pub struct Disk {
    spec: DiskSpec,
    backing: PathBuf,
    pub mount_point: PathBuf,
    /// Whether the host's layer over the image is on it; otherwise it is bound into the host.
    pub is_whole: bool,
}

impl Disk {
    pub fn of_host(folder: &Path, spec: DiskSpec, is_whole: bool) -> Self {
        Self { spec, backing: folder.join("disk.img"), mount_point: folder.join("disk"), is_whole }
    }

    pub fn create(&self) -> Result<()> {
        let what = || format!("making {}", self.backing.display());
        let file = File::create(&self.backing).map_err(Error::io(what()))?;
        file.set_len(self.spec.mib * 1024 * 1024).map_err(Error::io(what()))?;
        fs::create_dir_all(&self.mount_point).map_err(Error::io(what()))?;
        let mkfs = match self.spec.file_system {
            FileSystem::Ext4 => Cmd::new("mkfs.ext4").args(["-q", "-F"]),
            FileSystem::Xfs => Cmd::new("mkfs.xfs").args(["-q", "-f"]),
        };
        mkfs.arg(&self.backing).run()?;
        self.mount()
    }

    /// Keeps what had reached the disk and forgets what was only in memory: the backing file is copied while the file
    /// system, its writers already dead, is still mounted, so that it has written nothing more. `release` unmounts what is on it.
    pub fn lose_what_was_in_memory(&self, release: impl FnOnce() -> Result<()>) -> Result<()> {
        let copy = self.backing.with_extension("cut");
        Cmd::new("cp").arg("--sparse=always").args([&self.backing, &copy]).run()?;
        release()?;
        unmount(&self.mount_point)?;
        fs::rename(&copy, &self.backing)
            .map_err(Error::io(format!("swapping {}", self.backing.display())))?;
        self.mount()
    }

    fn mount(&self) -> Result<()> {
        let options = match self.spec.file_system {
            FileSystem::Ext4 => "loop",
            // After a cut, the old one may still hang in the mount table of another host that is just booting.
            FileSystem::Xfs => "loop,nouuid",
        };
        Cmd::new("mount").args(["-o", options]).args([&self.backing, &self.mount_point]).run().map(drop)
    }
}
