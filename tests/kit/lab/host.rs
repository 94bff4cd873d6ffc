//! One host: systemd in a container with its own cgroup, network, disks, machine-id and host keys; how it lives and dies.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::cgroup::Cgroup;
use super::cmd::{Cmd, poll};
use super::disk::{self, StateDisk};
use super::error::{Error, Result};
use super::network::Link;
use super::topology::Role;

const BOOT: Duration = Duration::from_secs(90);
const SHUTDOWN: Duration = Duration::from_secs(40);

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
    pub(super) disk: Option<StateDisk>,
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

    /// Prepares disks, cable and identity, and boots for the first time.
    pub(super) fn boot(&self, image: &Path, etc_hosts: &str) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(Error::io(format!("making {}", self.folder.display())))?;
        let root = disk::mount_overlay(image, &self.folder)?;
        if let Some(disk) = &self.disk {
            disk.create()?;
        }
        self.link.plug()?;
        self.lay_identity(&root, etc_hosts)?;
        self.start()
    }

    /// What makes this host itself, also after a reboot: journald files its entries under the machine-id.
    fn lay_identity(&self, root: &Path, etc_hosts: &str) -> Result<()> {
        let uuid =
            fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(Error::io("drawing a machine-id"))?;
        let machine_id = uuid.replace('-', "");
        let files = [
            ("etc/machine-id", machine_id.as_str()),
            ("etc/hostname", &format!("{}\n", self.name)),
            ("etc/hosts", etc_hosts),
        ];
        for (path, text) in files {
            fs::write(root.join(path), text)
                .map_err(Error::io(format!("writing /{path} of {}", self.name)))?;
        }
        for kind in ["ed25519", "ecdsa"] {
            Cmd::new("ssh-keygen")
                .args(["-q", "-N", "", "-t", kind, "-C", &format!("root@{}", self.name), "-f"])
                .arg(root.join(format!("etc/ssh/ssh_host_{kind}_key")))
                .run()?;
        }
        Ok(())
    }

    /// Boots, the first time or again, and waits until systemd says that all its services have started.
    pub fn start(&self) -> Result<()> {
        self.power_on()?;
        self.wait_running(BOOT)
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
        let child = Cmd::new("sh")
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
        line.push(format!("--directory={}", self.folder.join("root").display()));
        line.push(format!("--machine={}", self.link.namespace));
        line.push(format!("--network-namespace-path=/run/netns/{}", self.link.namespace));
        if let Some(disk) = &self.disk {
            line.push(format!("--bind={}:/var/lib/nightshift", disk.mount_point.display()));
        }
        line
    }

    /// Waits for systemd's `running`, or `degraded`: a failed unit is the test's to judge.
    pub fn wait_running(&self, within: Duration) -> Result<()> {
        let started = poll(&format!("the boot of {}", self.name), within, || {
            if let Some(reason) = self.ended_early() {
                return Ok(Err(reason));
            }
            let state =
                (self.try_run("systemctl is-system-running")).map_err(|error| error.to_string())?.text();
            match state.as_str() {
                "running" | "degraded" => Ok(Ok(())),
                _ => Err(state),
            }
        })?;
        started.map_err(Error::Refused)
    }

    /// What the console says of a container that ended instead of booting.
    fn ended_early(&self) -> Option<String> {
        let status = self.container().as_mut()?.try_wait().ok()??;
        let console = fs::read_to_string(self.folder.join("console.log")).unwrap_or_default();
        let last = console.lines().last().unwrap_or_default();
        Some(format!("the container of {} ended while it booted ({status}): {last}", self.name))
    }

    fn container(&self) -> MutexGuard<'_, Option<Child>> {
        self.container.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_up(&self) -> bool {
        self.cgroup.leader().is_some()
    }

    /// Shuts down as an operator would; what has not ended in time is killed, and that is an error.
    pub fn shutdown(&self) -> Result<()> {
        self.run("systemctl poweroff")?;
        self.wait_down()
    }

    pub fn reboot(&self) -> Result<()> {
        self.run("systemctl reboot")?;
        self.wait_down()?;
        self.start()
    }

    fn wait_down(&self) -> Result<()> {
        let ended = self.cgroup.wait_empty(SHUTDOWN);
        self.kill()?;
        ended
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

    /// The cord is pulled: everything is killed, and `/var/lib/nightshift` keeps only what had reached its disk.
    /// `start` boots from that.
    pub fn power_cut(&self) -> Result<()> {
        let Some(disk) = &self.disk else {
            return Err(Error::Refused(format!(
                "{} has no state disk: ask for one with Topology::state_disk",
                self.name
            )));
        };
        self.kill()?;
        disk.lose_what_was_in_memory()
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
