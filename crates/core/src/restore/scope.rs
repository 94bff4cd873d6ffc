//! What a plan restores: the whole cluster, or less.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::inventory::{Host, Inventory};
use crate::name::{HostName, NameError};
use crate::role::Role;
use crate::settings::Settings;
use crate::stage::Stage;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    #[default]
    Cluster,
    /// All members from one snapshot. Of files, etcd's configuration and certificates; masters are stopped and started.
    Etcd,
    /// One host of a cluster that runs. If it is a member, it joins the others again.
    Host(HostName),
    /// A file of one host, or what is below a directory. Nothing is stopped.
    Files { host: HostName, path: String },
}

/// As on the command line: `etcd` or the name of a host.
impl FromStr for Scope {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == Role::Etcd.as_str() { Ok(Self::Etcd) } else { text.parse().map(Self::Host) }
    }
}

impl Scope {
    fn includes(&self, host: &Host) -> bool {
        match self {
            Self::Cluster => true,
            Self::Etcd => host.roles.has(Role::Etcd) || host.roles.has(Role::Master),
            Self::Host(name) | Self::Files { host: name, .. } => host.name == *name,
        }
    }

    /// The cluster without the hosts that are not restored.
    pub fn narrowed(&self, settings: &Settings) -> Settings {
        let hosts = settings.inventory.hosts().filter(|host| self.includes(host)).cloned();
        Settings { inventory: Inventory::new(hosts), ..settings.clone() }
    }

    /// Whether a file of a host that is restored is put in place. `etcds` are the files and directories of etcd there.
    pub fn restores(&self, path: &str, etcds: &[String]) -> bool {
        match self {
            Self::Cluster | Self::Host(_) => true,
            Self::Etcd => etcds.iter().any(|etcds| is_or_is_below(path, etcds)),
            Self::Files { path: wanted, .. } => is_or_is_below(path, wanted),
        }
    }

    /// Whether the machines are new, so that their keys are pinned and the masters' keys are authorized.
    pub const fn has_new_machines(&self) -> bool {
        matches!(self, Self::Cluster | Self::Host(_))
    }

    /// The stages of the extra night that proves the restored cluster, on each of its hosts. None where the cluster's other hosts take no
    /// part in it: a master would wait for their sets.
    pub fn night(&self) -> Vec<Stage> {
        let is_of_nodes =
            |stage: &Stage| stage.makes() == Some(Role::Node) || stage.pulls() == Some(Role::Node);
        match self {
            Self::Cluster => Stage::ALL.to_vec(),
            Self::Etcd => Stage::ALL.into_iter().filter(|stage| !is_of_nodes(stage)).collect(),
            Self::Host(_) | Self::Files { .. } => Vec::new(),
        }
    }
}

fn is_or_is_below(path: &str, of: &str) -> bool {
    let rest = path.strip_prefix(of.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
