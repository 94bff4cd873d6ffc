//! Real hosts on one machine: a shared Debian image, one container with its own systemd, journal, sshd and address per
//! host, on wires that can be cut. It needs root.

mod boot;
mod cgroup;
mod cluster;
pub mod cmd;
mod disk;
pub mod el7;
mod error;
pub mod etcd;
pub mod hand;
mod host;
mod image;
mod inside;
mod journal;
mod network;
pub mod nightshift;
pub mod openshift;
pub mod operator;
mod package;
pub mod pods;
mod schedule;
mod topology;

use std::env;
use std::path::{Path, PathBuf};

pub use cluster::Lab;
pub use disk::{DiskSpec, FileSystem};
pub use error::{Error, Result};
pub use host::Host;
pub use inside::{HostFile, quote};
pub use journal::JournalEntry;
pub use package::{Contents, package};
pub use schedule::Schedule;
pub use topology::{DOMAIN, HostSpec, Role, Topology};

/// What a fresh Debian-like machine must have installed before it can hold a lab.
pub fn apt_packages() -> &'static [&'static str] {
    &[
        "age",
        "e2fsprogs",
        "iproute2",
        "mmdebstrap",
        "mount",
        "openssh-client",
        "openssl",
        "systemd-container",
        "util-linux",
        "xfsprogs",
    ]
}

/// Whether this machine can hold a lab, and if not, why.
pub fn available() -> std::result::Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("the lab needs root".to_owned());
    }
    let tools = [
        "age-keygen",
        "cp",
        "ip",
        "mkfs.ext4",
        "mkfs.xfs",
        "mmdebstrap",
        "mount",
        "nsenter",
        "openssl",
        "ssh-keygen",
        "systemd-nspawn",
        "tc",
    ];
    if let Some(missing) = tools.iter().find(|tool| !is_on_path(tool)) {
        return Err(format!("the lab needs {missing}: apt-get install {}", apt_packages().join(" ")));
    }
    if !cgroup::v2_root().is_some_and(|root| root.join("cgroup.procs").exists()) {
        return Err("the lab needs cgroup v2, alone or beside v1".to_owned());
    }
    network_namespaces()
}

fn is_on_path(tool: &str) -> bool {
    env::split_paths(cmd::PATH).any(|folder| folder.join(tool).exists())
}

fn network_namespaces() -> std::result::Result<(), String> {
    (cmd::Cmd::new("unshare").args(["--net", "true"]).run())
        .map(drop)
        .map_err(|error| format!("the lab needs network namespaces: {error}"))
}

/// Where images and labs lie.
fn folder() -> PathBuf {
    target().join("lab")
}

/// Programs that are run beside those that are installed, such as `etcd-3.5/usr/bin/etcd`.
pub fn tools() -> PathBuf {
    target().join("tools")
}

fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The directory of the workspace.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}
