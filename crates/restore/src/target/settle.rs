//! What follows new files: labels, the trust store, systemd's units. And what only a reboot puts into effect.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nightshift_core::restore::act::Outcome;
use nightshift_core::text::first_of;
use nightshift_store::process::{self, Limits};

use super::call::Call;
use super::dir::relative;
use super::error::TargetError;

const RESTORECON_LIMITS: Limits = Limits { time: Duration::from_secs(600), output: 16 << 20 };
const TRUST_LIMITS: Limits = Limits { time: Duration::from_secs(300), output: 1 << 20 };
/// Arguments of one program: the kernel limits them to 2 MiB, and a path to 4 KiB.
const MAX_ARGUMENTS: usize = 250;

/// The program that rebuilds the trust store of a distribution, and the directory with its anchors.
const TRUST_STORES: [(&str, &str); 2] = [
    ("usr/bin/update-ca-trust", "/etc/pki/ca-trust/source/"),
    ("usr/sbin/update-ca-certificates", "/usr/local/share/ca-certificates/"),
];

/// Files that are read at boot, or when their service starts.
const READ_AT_BOOT: [&str; 16] = [
    "/etc/sysctl.conf",
    "/etc/sysctl.d/",
    "/etc/modules-load.d/",
    "/etc/modprobe.d/",
    "/etc/default/grub",
    "/etc/fstab",
    "/etc/crypttab",
    "/etc/selinux/config",
    "/etc/sysconfig/iptables",
    "/etc/sysconfig/nftables.conf",
    "/etc/sysconfig/network",
    "/etc/NetworkManager/",
    "/etc/sysconfig/docker",
    "/etc/docker/daemon.json",
    "/etc/dnsmasq",
    "/etc/systemd/system.conf",
];

pub fn settle(call: &mut Call<'_, '_>, paths: &[String]) -> Result<Outcome, TargetError> {
    for path in paths {
        relative(path)?;
    }
    let is_repeated = call.was_settled();
    // It does nothing where SELinux is disabled.
    if let Some(restorecon) = program(call, &["usr/sbin/restorecon", "sbin/restorecon"]) {
        let existing: Vec<PathBuf> = paths
            .iter()
            .map(|path| call.host.path(path))
            .filter(|path| path.symlink_metadata().is_ok())
            .collect();
        for paths in existing.chunks(MAX_ARGUMENTS) {
            process::output(Command::new(&restorecon).args(["-R", "--"]).args(paths), RESTORECON_LIMITS)?;
        }
    }
    for (update, anchors) in TRUST_STORES {
        // The path may be that of a directory above, which was collected as a whole.
        let is_new =
            paths.iter().any(|path| path.starts_with(anchors) || anchors.starts_with(&format!("{path}/")));
        if is_new && let Some(update) = program(call, &[update]) {
            process::output(&mut Command::new(update), TRUST_LIMITS)?;
        }
    }
    call.host.systemd.daemon_reload()?;
    let placed = call.state.journal.placed();
    let boot: Vec<String> =
        placed.into_iter().filter(|path| is_read_at_boot(path)).map(str::to_owned).collect();
    if !boot.is_empty() {
        call.note(format!(
            "takes effect after a reboot, or a restart of its service: {}",
            first_of(&boot, ", ")
        ));
    }
    call.changed = !is_repeated;
    Ok(call.outcome())
}

fn is_read_at_boot(path: &str) -> bool {
    READ_AT_BOOT.iter().any(|read| path.starts_with(read))
}

fn program(call: &Call<'_, '_>, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|name| call.host.path(name)).find(|path| path.is_file())
}
