//! One host: systemd in a container with its own cgroup, network, disks, machine-id and host keys; how it lives and dies.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cgroup::Cgroup;
use super::cmd::Cmd;
use super::disk::{self, Disk};
use super::error::{Error, Result};
use super::image::Image;
use super::network::Link;
use super::topology::Role;

/// Enters the host's cgroups, then becomes the container: all that it starts is born there.
const ENTER_AND_EXEC: &str =
    r#"while [ "$1" != -- ]; do echo $$ > "$1" || exit 1; shift; done; shift; exec "$@""#;

pub struct Host {
    /// The full name, as inventories and certificates have it.
    pub name: String,
    pub roles: Vec<Role>,
    pub(super) folder: PathBuf,
    pub(super) cgroup: Cgroup,
    pub(super) link: Link,
    pub(super) image: Image,
    pub(super) disk: Option<Disk>,
    /// What containerd stores, where it runs: it has overlays of its own, which cannot be on the host's overlay.
    pub(super) containers: Option<PathBuf>,
    /// The container as this process started it; none if another did.
    pub(super) container: Mutex<Option<Child>>,
}

impl Host {
    pub fn address(&self) -> Ipv4Addr {
        self.link.address
    }

    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// The name up to its first dot.
    pub fn short_name(&self) -> &str {
        self.name.split('.').next().unwrap_or(&self.name)
    }

    /// Begins to boot. An etcd member without its peers goes on starting until they are back too.
    pub fn power_on(&self) -> Result<()> {
        if !self.cgroup.is_empty() {
            return Err(Error::Refused(format!("{} is running already", self.name)));
        }
        let entrances = self.cgroup.create()?;
        let console_path = self.folder.join("console.log");
        let console = (File::options().create(true).append(true).open(&console_path))
            .map_err(Error::io(format!("opening {}", console_path.display())))?;
        let complaints =
            console.try_clone().map_err(Error::io(format!("opening {}", console_path.display())))?;
        let mut shell = Cmd::new("sh");
        if self.containers.is_some() {
            shell = shell.env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "yes");
        }
        if self.image.release.is_some() {
            // systemd 258 and newer boot on cgroup v2 only, and this machine may have v1 beside it.
            shell = shell.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
        }
        let child = shell
            .args(["-c", ENTER_AND_EXEC, "sh"])
            .args(entrances)
            .arg("--")
            .args(self.nspawn())
            .detach(Stdio::from(console), Stdio::from(complaints))?;
        *self.container() = Some(child);
        Ok(())
    }

    fn nspawn(&self) -> Vec<String> {
        let mut line: Vec<String> = [
            "systemd-nspawn",
            "--quiet",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--console=pipe",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            // Rights of every real host: reading the state of the clock, and keeping a little memory from being swapped out.
            "--system-call-filter=adjtimex clock_adjtime @memlock",
            // A unit with a network of its own has its loopback brought up.
            "--capability=CAP_NET_ADMIN",
        ]
        .map(str::to_owned)
        .into();
        line.push(format!("--directory={}", self.root().display()));
        line.push(format!("--machine={}", self.link.namespace));
        line.push(format!("--network-namespace-path=/run/netns/{}", self.link.namespace));
        if let Some(folder) = &self.containers {
            line.push(format!("--bind={}:/var/lib/containerd", folder.display()));
            line.extend(["--capability=all", "--system-call-filter=@keyring bpf"].map(str::to_owned));
        }
        if let Some(disk) = self.disk.as_ref().filter(|disk| !disk.is_whole) {
            line.push(format!("--bind={}:/var/lib/nightshift", disk.mount_point.display()));
        }
        line
    }

    pub(super) fn container(&self) -> MutexGuard<'_, Option<Child>> {
        self.container.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_up(&self) -> bool {
        self.cgroup.leader().is_some()
    }

    /// SIGKILL of everything that runs there, in one instant. Its files stay as every process had written them.
    pub fn kill(&self) -> Result<()> {
        self.cgroup.kill()?;
        self.reap()?;
        self.cgroup.remove()
    }

    /// Collects the container's end, where this process started it.
    pub(super) fn reap(&self) -> Result<()> {
        if let Some(mut child) = self.container().take() {
            (child.wait()).map_err(Error::io(format!("reaping the container of {}", self.name)))?;
        }
        Ok(())
    }

    /// The cord is pulled: everything is killed, and the disk keeps only what had reached it. `start` boots from that.
    pub fn power_cut(&self) -> Result<()> {
        let Some(disk) = &self.disk else {
            return Err(Error::Refused(format!(
                "{} has no disk of its own: give it one with Topology::state_disk or Topology::host_disk",
                self.name
            )));
        };
        self.kill()?;
        if !disk.is_whole {
            return disk.lose_what_was_in_memory(|| Ok(()));
        }
        disk.lose_what_was_in_memory(|| disk::unmount(&self.root()))?;
        self.mount_root(&self.image.ensure()?)
    }

    /// The host's files as this machine sees them.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    pub(super) fn mount_root(&self, image: &Path) -> Result<()> {
        let whole = self.disk.as_ref().filter(|disk| disk.is_whole);
        let layer = whole.map_or(&self.folder, |disk| &disk.mount_point);
        disk::mount_overlay(image, layer, &self.root())
    }

    /// Gives what runs in units whose names begin so, and all that it starts, so much memory and no more; says how many
    /// processes that are. Where the host's own systemd can limit memory, this does nothing.
    pub fn limit_memory_of(&self, units: &str, bytes: u64) -> Result<usize> {
        let pids = self.cgroup.pids_of_units(units);
        self.cgroup.limit_memory_of(&pids, bytes)?;
        Ok(pids.len())
    }

    pub fn cut_link(&self) -> Result<()> {
        self.link.cut()
    }

    pub fn join_link(&self) -> Result<()> {
        self.link.join()
    }

    /// Lets it send no faster than this, so that what it sends can be broken off in the middle.
    pub fn throttle_link(&self, mbit: u32) -> Result<()> {
        self.link.throttle(mbit)
    }

    pub fn unthrottle_link(&self) -> Result<()> {
        self.link.unthrottle()
    }
}
