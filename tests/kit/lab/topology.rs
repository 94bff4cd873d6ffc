//! Which hosts a lab has, and what each of them is.

use serde::{Deserialize, Serialize};

use super::disk::DiskSpec;
use super::image::Image;

pub const DOMAIN: &str = "lab.test";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Master,
    Etcd,
    Node,
    /// A node without a daemon: masters read its files themselves.
    Agentless,
    BackupServer,
}

impl Role {
    fn host_name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Etcd => "etcd",
            Self::Node => "node",
            Self::Agentless => "agentless",
            Self::BackupServer => "backup",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostSpec {
    pub name: String,
    pub roles: Vec<Role>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Topology {
    pub(super) hosts: Vec<HostSpec>,
    pub(super) disk: Option<DiskSpec>,
    pub(super) is_disk_whole: bool,
    #[serde(default)]
    pub(super) image: Image,
}

impl Topology {
    pub fn new() -> Self {
        Self::default()
    }

    /// A cluster with everything in it: 3 masters, 3 etcd members, 4 nodes, 1 agentless node, 1 backup server.
    pub fn full() -> Self {
        Self::new()
            .with(3, Role::Master)
            .with(3, Role::Etcd)
            .with(4, Role::Node)
            .with(1, Role::Agentless)
            .with(1, Role::BackupServer)
    }

    /// Adds hosts of one role: `master1.lab.test`, `master2.lab.test`, …
    pub fn with(mut self, count: usize, role: Role) -> Self {
        for number in 1..=count {
            self = self.host(&format!("{}{number}", role.host_name()), &[role]);
        }
        self
    }

    /// Adds a host of several roles.
    pub fn host(mut self, short_name: &str, roles: &[Role]) -> Self {
        self.hosts.push(HostSpec { name: format!("{short_name}.{DOMAIN}"), roles: roles.to_vec() });
        self
    }

    /// Gives every host a disk of its own under `/var/lib/nightshift`: what a power cut needs.
    pub fn state_disk(self, disk: DiskSpec) -> Self {
        Self { disk: Some(disk), is_disk_whole: false, ..self }
    }

    /// Gives every host a disk that has all that the host writes: for power cuts of the whole machine.
    pub fn host_disk(self, disk: DiskSpec) -> Self {
        Self { disk: Some(disk), is_disk_whole: true, ..self }
    }

    /// Hosts with this release of Debian, such as `trixie`.
    pub fn of_release(mut self, release: &str) -> Self {
        self.image.release = Some(release.to_owned());
        self
    }

    /// Hosts with further packages of Debian.
    pub fn with_packages(mut self, packages: &[&str]) -> Self {
        self.image.packages = packages.iter().map(|&package| package.to_owned()).collect();
        self
    }

    /// Hosts on which containerd runs containers: with all capabilities, and control groups that they can write to.
    pub fn with_containers(mut self) -> Self {
        self.image.containers = true;
        self
    }
}
