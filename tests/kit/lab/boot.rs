//! How a host boots and shuts down: what its own systemd says of it is waited for.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::cmd::{Cmd, poll};
use super::error::{Error, Result};
use super::host::Host;

const BOOT: Duration = Duration::from_secs(90);
const SHUTDOWN: Duration = Duration::from_secs(40);

impl Host {
    /// Lays its cable, and boots for the first time.
    pub(super) fn boot(&self, image: &Path, etc_hosts: &str) -> Result<()> {
        self.link.plug()?;
        self.install(image, etc_hosts)
    }

    /// Prepares disks and identity, and boots for the first time.
    pub(super) fn install(&self, image: &Path, etc_hosts: &str) -> Result<()> {
        for folder in [&self.folder].into_iter().chain(&self.containers) {
            fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
        }
        if let Some(disk) = &self.disk {
            disk.create()?;
        }
        self.mount_root(image)?;
        self.lay_identity(&self.root(), etc_hosts)?;
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
}
