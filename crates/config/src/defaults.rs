//! All defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::Time;
use nightshift_core::retention::Keep;
use nightshift_core::role::Role;
use nightshift_core::settings::{Compression, EtcdData, EtcdMembers, FileLists, FileRule};
use nightshift_core::stage::Stage;

pub(crate) const OPENS: Time = Time::constant(22, 0, 0, 0);
pub(crate) const CLOSES: Time = Time::constant(4, 0, 0, 0);
pub(crate) const TRUST_CLOCK: bool = false;

pub(crate) const STATE: &str = "/var/lib/nightshift";
pub(crate) const RUN: &str = "/run/nightshift";

pub(crate) const ETCD_CONF: &str = "/etc/etcd/etcd.conf";
pub(crate) const ETCD_STALL: Duration = Duration::from_secs(60);
pub(crate) const ETCD_DEADLINE: Duration = Duration::from_secs(60 * 60);
pub(crate) const ETCD_DATA: EtcdData = EtcdData::Auto;
pub(crate) const ETCD_MEMBERS: EtcdMembers = EtcdMembers::All;
pub(crate) const ETCD_SLOT: Duration = Duration::from_secs(3 * 60);
/// In percent.
pub(crate) const SUSPICIOUS_BELOW: u8 = 50;

/// Bytes per second: low enough not to slow down an etcd that uses the same disk.
pub(crate) const DRILL_RATE: u64 = 50_000_000;
pub(crate) const DRILL_DEADLINE: Duration = Duration::from_secs(60 * 60);

/// Every `tar` can unpack gzip; zstd needs a newer one.
pub(crate) const COMPRESSION: Compression = Compression::Gzip;

pub(crate) const KEEP: Keep = Keep { nights: 7, weeks: 4, months: 6 };
pub(crate) const KEEP_ETCD: Keep = Keep { nights: 3, weeks: 2, months: 0 };
pub(crate) const MIN_FREE: u64 = 2 << 30;
pub(crate) const MOST_PER_NODE: u64 = 1 << 30;
/// A snapshot and a cold copy of 8 GiB, the largest database that etcd's documentation suggests.
pub(crate) const MOST_PER_MASTER: u64 = 16 << 30;

pub(crate) const PLAINTEXT: bool = false;
pub(crate) const KEEP_SENT: usize = 1;
pub(crate) const KEEP_OUTBOX: usize = 3;

/// A remote is treated as append-only by default.
pub(crate) const REMOTE_PRUNE: bool = false;
/// The server's receive window limits the rate of a single connection; over a long distance four are faster.
pub(crate) const REMOTE_CONNECTIONS: usize = 4;

pub(crate) const SSH_USER: &str = "nightshift-peer";
/// An agentless host has no package of nightshift, so it has no `nightshift-peer` user either.
pub(crate) const AGENTLESS_USER: &str = "root";
pub(crate) const SSH_PORT: u16 = 22;
pub(crate) const SSH_HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";
pub(crate) const SSH_CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
pub(crate) const SSH_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) const AGENTLESS: bool = false;
pub(crate) const EXPECTED: bool = true;

pub(crate) fn vault(state: &Path) -> PathBuf {
    state.join("vault")
}

pub(crate) fn ssh_identity(config: &Path) -> PathBuf {
    config.join("ssh/id_ed25519")
}

pub(crate) fn known_hosts(config: &Path) -> PathBuf {
    config.join("ssh/known_hosts")
}

/// The default settings of a stage.
#[derive(Debug)]
pub(crate) struct StageDefaults {
    pub(crate) at: &'static str,
    pub(crate) until: Option<Time>,
    pub(crate) parallel: usize,
    pub(crate) retries: u32,
    pub(crate) backoff: Duration,
    pub(crate) jitter: Duration,
}

pub(crate) const fn stage(stage: Stage) -> StageDefaults {
    let (at, until, parallel) = match stage {
        Stage::SnapshotEtcd => ("0 22 * * *", None, 1),
        Stage::CollectNode => ("10 22 * * *", None, 4),
        Stage::PullEtcd => ("29 22 * * *", Some(Time::constant(23, 40, 0, 0)), 8),
        Stage::PullNodes => ("30 22 * * *", Some(Time::constant(23, 40, 0, 0)), 32),
        Stage::CollectMaster => ("40 22 * * *", None, 4),
        Stage::MirrorMasters => ("45 23 * * *", Some(Time::constant(0, 15, 0, 0)), 8),
        Stage::PackArchive => ("50 23 * * *", None, 1),
        Stage::ShipArchive => ("55 23 * * *", None, 4),
        Stage::Drill => ("20 0 * * *", None, 1),
        Stage::Prune => ("30 0 * * *", None, 1),
    };
    // So that the masters do not start their uploads in the same second.
    let jitter = if matches!(stage, Stage::ShipArchive) { 5 * 60 } else { 0 };
    StageDefaults {
        at,
        until,
        parallel,
        retries: 3,
        backoff: Duration::from_secs(30),
        jitter: Duration::from_secs(jitter),
    }
}

/// The default files of a role on an OpenShift 3 host: those needed to rebuild it.
pub(crate) fn files(role: Role, config: &Path) -> FileLists {
    let (services, static_pods): (&[FileRule], &[FileRule]) = match role {
        Role::Master => (&master(), &master()),
        Role::Etcd => (
            &[
                required(ETCD_CONF),
                optional("/etc/systemd/system/etcd.service.d/"),
                optional("/etc/systemd/system/etcd_container.service"),
            ],
            &[required("/etc/origin/node/pods/etcd.yaml"), optional(ETCD_CONF)],
        ),
        Role::Node => (
            &[required("/etc/origin/node/node-config.yaml"), optional(NODE_SERVICE)],
            // There node-config.yaml is generated from the config map that BOOTSTRAP_CONFIG_NAME in this file names.
            &[required(NODE_SERVICE), optional("/etc/origin/node/node-config.yaml")],
        ),
    };
    let common = common(role);
    let own = own(config);
    let list = |first: &[FileRule]| [first, &common, &own].concat();
    FileLists { services: list(services), static_pods: list(static_pods), kubeadm: list(services) }
}

/// `atomic-openshift-node` on OpenShift, `origin-node` on OKD.
const NODE_SERVICE: &str = "/etc/sysconfig/*-node";

/// The same for both generations: the differing files are below /etc/origin, which is collected as a whole.
fn master() -> Vec<FileRule> {
    vec![
        required("/etc/origin/master/master-config.yaml"),
        required("/etc/origin/master/ca.crt"),
        required("/etc/origin/master/ca.key"),
        required("/etc/origin/master/serviceaccounts.private.key"),
        optional("/etc/origin/"),
        optional("/etc/sysconfig/atomic-*"),
        optional("/etc/sysconfig/origin-*"),
        optional("/etc/ansible/hosts"),
    ]
}

/// The files of a role that are the same in both generations.
fn common(role: Role) -> Vec<FileRule> {
    const ETCD_CERTIFICATES: [&str; 5] = ["ca.crt", "peer.crt", "peer.key", "server.crt", "server.key"];
    const HOST: [&str; 12] = [
        "/etc/sysconfig/iptables",
        "/etc/sysconfig/docker",
        "/etc/sysconfig/docker-*",
        "/etc/sysconfig/flanneld",
        "/etc/dnsmasq.conf",
        "/etc/dnsmasq.d/",
        "/etc/cni/",
        "/etc/docker/certs.d/",
        "/etc/pki/ca-trust/source/anchors/",
        "/etc/yum.repos.d/",
        "/var/spool/cron/root",
        "/var/spool/cron/crontabs/root",
    ];
    match role {
        Role::Etcd => ETCD_CERTIFICATES
            .map(|name| required(&format!("/etc/etcd/{name}")))
            .into_iter()
            .chain([optional("/etc/etcd/"), optional("/var/spool/cron/root")])
            .collect(),
        Role::Master => HOST.map(optional).into_iter().chain([packages()]).collect(),
        Role::Node => [optional("/etc/origin/node/")]
            .into_iter()
            .chain(HOST.map(optional))
            .chain([packages()])
            .collect(),
    }
}

/// nightshift's own config, without its keys: every set contains it.
pub(crate) fn own(config: &Path) -> Vec<FileRule> {
    let within = |name: &str| optional(&config.join(name).display().to_string());
    vec![within("nightshift.toml"), within("conf.d/")]
}

fn packages() -> FileRule {
    FileRule::Command {
        argv: vec!["rpm".to_owned(), "-qa".to_owned()],
        alias: "packages.txt".to_owned(),
        optional: true,
    }
}

fn required(path: &str) -> FileRule {
    FileRule::Path { path: path.to_owned(), alias: None, optional: false }
}

fn optional(path: &str) -> FileRule {
    FileRule::Path { path: path.to_owned(), alias: None, optional: true }
}
