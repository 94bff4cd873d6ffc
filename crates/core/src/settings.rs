//! The resolved config: all defaults are filled in and all text is parsed.
//!
//! The config crate creates this value from TOML; the engine uses only this value.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Time;

use crate::hook::Hook;
use crate::inventory::{Host, Inventory};
use crate::name::{ClusterName, HostName, RemoteName};
use crate::night::{Night, NightWindow};
use crate::notify::Target;
use crate::retention::Keep;
use crate::role::{Role, Roles};
use crate::schedule::Schedule;
use crate::stage::{PerStage, Stage};
use crate::system::ControlPlane;
use crate::tolerance::Tolerance;
use crate::words::words;

#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub cluster: ClusterName,
    pub this: HostName,
    pub inventory: Inventory,
    pub window: NightWindow,
    /// The clock counts as synchronised, because something else than NTP keeps it right (a hypervisor, for example).
    pub trust_clock: bool,
    /// How many nodes a complete night may lack.
    pub tolerate: Tolerance,
    pub stages: PerStage<StageSettings>,
    pub files: BTreeMap<Role, FileLists>,
    pub etcd: EtcdSettings,
    pub drill: DrillSettings,
    pub vault: VaultSettings,
    pub archive: ArchiveSettings,
    pub remotes: Vec<Remote>,
    pub ssh: SshSettings,
    pub metrics: MetricsSettings,
    /// Where notices are sent.
    pub notify: Vec<Target>,
    /// An operator's commands before and after stages and the night, in the order in which they run.
    pub hooks: Vec<Hook>,
    pub paths: Paths,
}

impl Settings {
    pub fn roles(&self) -> Roles {
        self.inventory.get(&self.this).map_or(Roles::NONE, |host| host.roles)
    }

    /// The other hosts of a role, except those with `expected = false`.
    pub fn peers(&self, role: Role) -> impl Iterator<Item = &Host> {
        self.inventory.with_role(role).filter(|host| host.name != self.this && host.expected)
    }

    /// Whether a host has an etcd set to restore in every night: a master has those of all members; a member has its own,
    /// except with `members = "one"`.
    pub fn has_etcd_set(&self, host: &HostName) -> bool {
        self.inventory.get(host).is_some_and(|host| {
            host.roles.has(Role::Master)
                || host.roles.has(Role::Etcd) && self.etcd.members == EtcdMembers::All
        })
    }

    /// The settings of the open night after a reload: the stages that have not begun take theirs from `fresh`,
    /// notices go to its targets, and its hooks run, because their unit reads the new config; everything else stays.
    pub fn tonight(&self, fresh: &Self, begun: impl Fn(Stage) -> bool) -> Self {
        let of = |stage| if begun(stage) { self } else { fresh };
        let stages = PerStage::from_fn(|stage| of(stage).stages.get(stage).clone());
        Self { stages, notify: fresh.notify.clone(), hooks: fresh.hooks.clone(), ..self.clone() }
    }

    /// The files to collect for a role on a host with such a control plane. Where none was found, they are those of services.
    pub fn file_rules(&self, role: Role, control_plane: Option<ControlPlane>) -> &[FileRule] {
        self.files.get(&role).map_or(&[], |lists| match control_plane {
            Some(ControlPlane::Services) | None => &lists.services,
            Some(ControlPlane::StaticPods) => &lists.static_pods,
            Some(ControlPlane::Kubeadm) => &lists.kubeadm,
        })
    }
}

/// When and how a stage runs.
#[derive(Debug, Clone, PartialEq)]
pub struct StageSettings {
    pub at: Schedule,
    /// Until when it waits for missing sets; `None` means until the night closes.
    pub until: Option<Time>,
    /// How many peers (or remotes, or files) it handles at a time.
    pub parallel: usize,
    /// How often it is retried after a failure.
    pub retries: u32,
    /// The maximum delay before the first retry. It doubles with each retry, up to ten times this value.
    pub backoff: Duration,
    /// The maximum random delay of the start. The delay is different for each host and night.
    pub jitter: Duration,
}

/// What to collect for one role, by how the control plane runs. A list in the config is used for all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileLists {
    pub services: Vec<FileRule>,
    pub static_pods: Vec<FileRule>,
    pub kubeadm: Vec<FileRule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileRule {
    /// A file, a whole directory (`/etc/etcd/`) or a glob; `alias` is the name of a single file in the set.
    Path { path: String, alias: Option<String>, optional: bool },
    /// The output of a command, run without a shell.
    Command { argv: Vec<String>, alias: String, optional: bool },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdSettings {
    /// The client URL of the local member; `None` means that it is read from etcd.conf or the static pod's manifest.
    pub endpoint: Option<String>,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub compression: Compression,
    /// A snapshot is aborted if the stream delivers nothing for this long.
    pub stall: Duration,
    /// The maximum duration of a snapshot.
    pub deadline: Duration,
    /// The path of etcd.conf.
    pub conf: PathBuf,
    pub data: EtcdData,
    pub members: EtcdMembers,
    /// The delay between the starts of two members' snapshots.
    pub slot: Duration,
    /// Tonight's set is suspicious if it has less than this percentage of the last good set's keys or bytes.
    pub suspicious_below: u8,
    /// The directory with the etcdutl for restores, which the kit contains.
    pub restore_tools: Option<PathBuf>,
}

words! {
    Compression {
        Gzip = "gzip",
        Zstd = "zstd",
    }
}

words! {
    /// Which of etcd's two stores contain the data to back up.
    EtcdData {
        /// Both stores of the member are queried.
        Auto = "auto",
        V3 = "v3",
        V2 = "v2",
        Mixed = "mixed",
    }
}

words! {
    /// Which members are snapshotted each night.
    EtcdMembers {
        All = "all",
        /// The first one in the order of slots; the others only if no good set exists when their turn comes.
        One = "one",
    }
}

/// Where a drill gets etcd's programs from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EtcdTools {
    /// Those that are installed in the usual directories, else those of the member's container.
    #[default]
    Auto,
    /// The directory with etcd and etcdctl or etcdutl.
    Directory(PathBuf),
    /// None: nothing is drilled on this host.
    None,
}

impl std::fmt::Display for EtcdTools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Directory(directory) => directory.display().fmt(f),
            Self::None => f.write_str("none"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillSettings {
    /// The hosts that run drills in turn, one each night.
    pub hosts: Vec<HostName>,
    pub etcd_tools: EtcdTools,
    /// The directory in which drills create their scratch directory; `None` means that of the drill's unit.
    pub scratch: Option<PathBuf>,
    /// The maximum rate at which a drill reads and writes, in bytes per second.
    pub rate: u64,
    /// The maximum duration of a drill.
    pub deadline: Duration,
}

impl DrillSettings {
    /// The host whose turn it is in a night.
    pub fn prover(&self, night: Night) -> Option<&HostName> {
        night.turn(&self.hosts)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultSettings {
    pub path: PathBuf,
    pub keep: Keep,
    pub keep_etcd: Keep,
    /// Bytes to leave free on the vault's file system.
    pub min_free: u64,
    /// The maximum size in bytes of a node's set.
    pub most_per_node: u64,
    /// The maximum size in bytes of a set of a master or an etcd host.
    pub most_per_master: u64,
}

impl VaultSettings {
    /// The maximum size in bytes of a set of this role.
    pub const fn max_set_size(&self, role: Role) -> u64 {
        match role {
            Role::Node => self.most_per_node,
            Role::Master | Role::Etcd => self.most_per_master,
        }
    }

    /// The key of that maximum in the config.
    pub const fn max_set_size_key(role: Role) -> &'static str {
        match role {
            Role::Node => "most-per-node",
            Role::Master | Role::Etcd => "most-per-master",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveSettings {
    pub compression: Compression,
    /// age public keys; empty means that archives are not encrypted.
    pub recipients: Vec<String>,
    /// Archives may be shipped unencrypted. The config must set this explicitly if there are no recipients.
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
    /// The directory there, as written in the URL.
    pub path: String,
    pub identity: PathBuf,
    pub keep: Keep,
    /// Whether retention removes old archives there; false for append-only remotes.
    pub prune: bool,
    /// The number of parallel connections of one upload.
    pub connections: usize,
    /// The maximum bytes per second to it, over all connections together.
    pub rate: Option<u64>,
}

impl Remote {
    /// The path of a file there.
    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path.trim_end_matches('/'))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSettings {
    pub identity: PathBuf,
    pub known_hosts: PathBuf,
    /// The host's own SSH key, which signs manifests and archives.
    pub host_key: PathBuf,
    pub connect_timeout: Duration,
    /// A transfer is aborted if nothing is transferred for this long.
    pub idle_timeout: Duration,
    /// The maximum bytes per second at which this master pulls, over all hosts together.
    pub pull_rate: Option<u64>,
}

/// Where metrics are written, beside what answers on request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricsSettings {
    /// A file for node_exporter's textfile collector.
    pub textfile: Option<PathBuf>,
}

/// The file name of the control socket in the run directory.
pub const CONTROL_SOCKET: &str = "control.sock";

/// nightshift's own directories.
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

    /// Scratch files and directories of the daemon itself.
    pub fn scratch(&self) -> PathBuf {
        self.state.join("scratch")
    }

    pub fn sent(&self) -> PathBuf {
        self.state.join("sent")
    }

    /// The newest status report without the record of its night: all that the metrics' unit can read.
    pub fn status_report(&self) -> PathBuf {
        self.state.join("metrics/status.json")
    }

    /// The file that remembers when an archive was last opened with its real key.
    pub fn opened(&self) -> PathBuf {
        self.state.join("opened.json")
    }

    /// The file with the nights that an operator keeps.
    pub fn kept(&self) -> PathBuf {
        self.state.join("kept.json")
    }

    /// The kit of this host, and what is known of its deliveries.
    pub fn kit(&self) -> PathBuf {
        self.state.join("kit")
    }

    /// The file that remembers that the vault was used.
    pub fn vault_mark(&self) -> PathBuf {
        self.state.join("vault.mark")
    }

    /// The notices that wait, by target, and what is known of each target.
    pub fn notices(&self) -> PathBuf {
        self.state.join("notify")
    }

    pub fn records(&self) -> PathBuf {
        self.state.join("records")
    }

    pub fn socket(&self) -> PathBuf {
        self.run.join(CONTROL_SOCKET)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    #![allow(clippy::unwrap_used)]
    //! Settings for tests.

    use jiff::civil::time;
    use jiff::tz::TimeZone;

    use super::*;

    pub fn host(name: &str) -> Host {
        Host {
            name: name.parse().unwrap(),
            roles: Roles::NONE,
            address: name.into(),
            port: 22,
            user: "nightshift-peer".into(),
            agentless: false,
            expected: true,
            vault: "/vault".into(),
        }
    }

    fn stage(stage: Stage) -> StageSettings {
        let (at, until) = match stage {
            Stage::SnapshotEtcd => ("0 22 * * *", None),
            Stage::CollectNode => ("10 22 * * *", None),
            Stage::PullEtcd => ("29 22 * * *", Some(time(23, 40, 0, 0))),
            Stage::PullNodes => ("30 22 * * *", Some(time(23, 40, 0, 0))),
            Stage::CollectMaster => ("40 22 * * *", None),
            Stage::MirrorMasters => ("45 23 * * *", Some(time(0, 15, 0, 0))),
            Stage::PackArchive => ("50 23 * * *", None),
            Stage::ShipArchive => ("55 23 * * *", None),
            Stage::Drill => ("20 0 * * *", None),
            Stage::Prune => ("30 0 * * *", None),
        };
        StageSettings {
            at: at.parse().unwrap(),
            until,
            parallel: 8,
            retries: 3,
            backoff: Duration::from_secs(60),
            jitter: Duration::ZERO,
        }
    }

    fn etcd() -> EtcdSettings {
        EtcdSettings {
            endpoint: None,
            ca: None,
            cert: None,
            key: None,
            compression: Compression::Gzip,
            stall: Duration::from_secs(60),
            deadline: Duration::from_secs(3600),
            conf: "/etc/etcd/etcd.conf".into(),
            data: EtcdData::Auto,
            members: EtcdMembers::All,
            slot: Duration::from_secs(180),
            suspicious_below: 50,
            restore_tools: None,
        }
    }

    pub fn settings(this: &str) -> Settings {
        let keep = Keep { nights: 7, weeks: 4, months: 6 };
        Settings {
            cluster: "test".parse().unwrap(),
            this: this.parse().unwrap(),
            inventory: Inventory::default(),
            window: NightWindow { opens: time(22, 0, 0, 0), closes: time(4, 0, 0, 0), zone: TimeZone::UTC },
            trust_clock: false,
            tolerate: Tolerance { nodes: 0, nights: 3 },
            stages: PerStage::from_fn(stage),
            files: BTreeMap::new(),
            etcd: etcd(),
            drill: DrillSettings {
                hosts: Vec::new(),
                etcd_tools: EtcdTools::Auto,
                scratch: None,
                rate: 50_000_000,
                deadline: Duration::from_secs(3600),
            },
            vault: VaultSettings {
                path: "/vault".into(),
                keep,
                keep_etcd: keep,
                min_free: 0,
                most_per_node: u64::MAX,
                most_per_master: u64::MAX,
            },
            archive: ArchiveSettings {
                compression: Compression::Gzip,
                recipients: Vec::new(),
                plaintext: false,
                keep_sent: 1,
                keep_outbox: 3,
            },
            remotes: Vec::new(),
            ssh: SshSettings {
                identity: "/id".into(),
                known_hosts: "/known_hosts".into(),
                host_key: "/host_key".into(),
                connect_timeout: Duration::from_secs(10),
                idle_timeout: Duration::from_secs(60),
                pull_rate: None,
            },
            metrics: MetricsSettings::default(),
            notify: Vec::new(),
            hooks: Vec::new(),
            paths: Paths { config: "/etc".into(), state: "/state".into(), run: "/run".into() },
        }
    }
}
