//! Everything that a config says, resolved: no defaults left to look up, no text left to parse.
//!
//! The config crate makes this value; the engine has never heard of TOML.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Time;

use crate::inventory::{Host, Inventory};
use crate::name::{ClusterName, HostName, RemoteName};
use crate::night::NightWindow;
use crate::retention::Keep;
use crate::role::{Role, Roles};
use crate::schedule::Schedule;
use crate::stage::PerStage;

#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub cluster: ClusterName,
    pub this: HostName,
    pub inventory: Inventory,
    pub window: NightWindow,
    pub stages: PerStage<StageSettings>,
    pub files: BTreeMap<Role, FileLists>,
    pub etcd: EtcdSettings,
    pub vault: VaultSettings,
    pub archive: ArchiveSettings,
    pub remotes: Vec<Remote>,
    pub ssh: SshSettings,
    pub paths: Paths,
}

impl Settings {
    pub fn roles(&self) -> Roles {
        self.inventory.get(&self.this).map_or(Roles::NONE, |host| host.roles)
    }

    /// The other hosts of a role, silenced ones left out.
    pub fn peers(&self, role: Role) -> impl Iterator<Item = &Host> {
        self.inventory.with_role(role).filter(|host| host.name != self.this && host.expected)
    }

    /// The files to collect for a role on a cluster of this generation.
    pub fn file_rules(&self, role: Role, generation: Generation) -> &[FileRule] {
        self.files.get(&role).map_or(&[], |lists| match generation {
            Generation::Services => &lists.services,
            Generation::StaticPods => &lists.static_pods,
        })
    }
}

/// When and how a stage runs.
#[derive(Debug, Clone, PartialEq)]
pub struct StageSettings {
    pub at: Schedule,
    /// Until when it waits for what it needs; `None` is the closing of the night.
    pub until: Option<Time>,
    /// How many peers (or remotes, or files) at a time.
    pub parallel: usize,
    /// How often it is tried again after a failure.
    pub retries: u32,
    /// The pause before the first retry; each further one is twice as long, up to ten times, with jitter.
    pub backoff: Duration,
    /// The longest that it may wait before it starts, chosen anew by each host and night.
    pub jitter: Duration,
}

/// How the control plane of an OpenShift 3 host is run (facts/openshift-3.md C1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// systemd services: up to 3.9.
    Services,
    /// Static pods: 3.10 and 3.11.
    StaticPods,
}

/// What to collect for one role, by generation. A list that a person wrote holds for both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileLists {
    pub services: Vec<FileRule>,
    pub static_pods: Vec<FileRule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileRule {
    /// A file, a whole folder (`/etc/etcd/`) or a glob; `alias` names a single file in the set.
    Path { path: String, alias: Option<String>, optional: bool },
    /// The output of a command, run without a shell.
    Command { argv: Vec<String>, alias: String, optional: bool },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdSettings {
    /// Where the local member answers; found from etcd.conf or the static pod where unset.
    pub endpoint: Option<String>,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub compression: Compression,
    /// A stream that delivers nothing for so long is given up.
    pub stall: Duration,
    /// The longest that a snapshot may take.
    pub deadline: Duration,
    /// How long after `at` each further member waits, so that they don't stream at the same time.
    pub slot: Duration,
    /// Where etcd.conf lies.
    pub conf: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Gzip,
    Zstd,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultSettings {
    pub path: PathBuf,
    pub keep: Keep,
    pub keep_etcd: Keep,
    /// Bytes to leave free on the vault's file system.
    pub min_free: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveSettings {
    pub compression: Compression,
    /// age public keys; empty means that archives are not encrypted.
    pub recipients: Vec<String>,
    /// An archive may leave the site unencrypted: said in so many words.
    pub plaintext: bool,
    /// How many shipped archives stay in `sent/`.
    pub keep_sent: usize,
    /// How many unshipped archives wait in `outbox/`.
    pub keep_outbox: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    pub name: RemoteName,
    pub user: String,
    pub address: String,
    pub port: u16,
    /// The folder there, as written in the URL.
    pub path: String,
    pub identity: PathBuf,
    pub keep: Keep,
    /// Whether archives there are removed by policy; false for append-only remotes.
    pub prune: bool,
    /// Connections used side by side for one upload.
    pub connections: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSettings {
    pub identity: PathBuf,
    pub known_hosts: PathBuf,
    /// The host's own SSH key, which signs manifests and archives.
    pub host_key: PathBuf,
    pub connect_timeout: Duration,
    /// A transfer that moves nothing for so long is given up.
    pub idle_timeout: Duration,
}

/// Where nightshift keeps its own things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    pub config: PathBuf,
    pub state: PathBuf,
    pub run: PathBuf,
}

impl Paths {
    pub fn outbox(&self) -> PathBuf {
        self.state.join("outbox")
    }

    pub fn sent(&self) -> PathBuf {
        self.state.join("sent")
    }

    pub fn records(&self) -> PathBuf {
        self.state.join("records")
    }

    pub fn socket(&self) -> PathBuf {
        self.run.join("control.sock")
    }
}
