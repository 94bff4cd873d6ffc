//! The machine of an act, and what the program gives: this crate links neither the daemon nor SSH.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nightshift_core::backup::Backup;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::stage::Stage;

use super::accounts::{Accounts, SystemAccounts};
use super::systemd::{Systemctl, Systemd};

/// A kubelet notices within 20 s that a manifest is gone, and gives the pod 30 s.
const POD_TIMEOUT: Duration = Duration::from_secs(60);

type Failure = Box<dyn Error + Send + Sync>;

pub struct Host<'a> {
    /// `/`, but for tests. Every path of an act is below it.
    pub root: PathBuf,
    pub is_root: bool,
    pub systemd: &'a dyn Systemd,
    pub accounts: &'a dyn Accounts,
    pub nightshift: &'a dyn Nightshift,
    /// How long a kubelet may take to end a pod.
    pub pod_timeout: Duration,
}

impl<'a> Host<'a> {
    /// This machine.
    pub fn here(nightshift: &'a dyn Nightshift) -> Self {
        Self {
            root: "/".into(),
            is_root: rustix::process::geteuid().is_root(),
            systemd: &Systemctl,
            accounts: &SystemAccounts,
            nightshift,
            pod_timeout: POD_TIMEOUT,
        }
    }

    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// What an act does with nightshift's own configuration, which is restored by then.
pub trait Nightshift {
    /// Pins these lines of known_hosts instead of what is pinned for their hosts. False if they are already pinned.
    fn pin(&self, lines: &[String]) -> Result<bool, Failure>;

    /// Creates keys that do not exist. Returns whether it created one, and the lines that authorize them: the one for peers
    /// first, then one for each of the remotes.
    fn identities(&self, remotes: &[String]) -> Result<(bool, Vec<String>), Failure>;

    /// Adds lines to the peers' `authorized_keys`. False if it has them.
    fn authorize(&self, lines: &[String]) -> Result<bool, Failure>;

    /// The name of this host in its configuration.
    fn this(&self) -> Result<HostName, Failure>;

    /// The next extra night of today that is not recorded here.
    fn free_night(&self) -> Result<Night, Failure>;

    /// Runs an extra night of these stages, which proves what this plan has restored, and returns the daemon's report on it.
    fn night(&self, plan: &str, stages: &[Stage], night: Option<Night>) -> Result<String, Failure>;

    /// Runs this extra night as a backup of the whole cluster, and returns the daemon's report on it; with `wait` when it has ended. Until
    /// then, it calls `alive` as long as the daemon responds.
    fn backup(
        &self,
        night: Night,
        backup: Backup,
        wait: bool,
        alive: &mut dyn FnMut(),
    ) -> Result<String, Failure>;
}
