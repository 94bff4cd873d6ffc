//! All defaults.

mod files;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::Time;
use nightshift_core::notify::WebhookFormat;
use nightshift_core::retention::Keep;
use nightshift_core::settings::{Compression, EtcdData, EtcdMembers};
use nightshift_core::stage::Stage;
use nightshift_core::tolerance::Tolerance;

pub(crate) use files::{files, own};

pub(crate) const OPENS: Time = Time::constant(22, 0, 0, 0);
/// After the opening.
pub(crate) const LENGTH: SignedDuration = SignedDuration::from_hours(6);
pub(crate) const TRUST_CLOCK: bool = false;
pub(crate) const TOLERATE: Tolerance = Tolerance { nodes: 0, nights: 3 };

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

pub(crate) const NOTIFY_FORMAT: WebhookFormat = WebhookFormat::Json;
pub(crate) const NOTIFY_EVERY_NIGHT: bool = false;
/// A receiver may be down for an evening; the next night has news of its own.
pub(crate) const NOTIFY_GIVE_UP: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) const HOOK_TIMEOUT: Duration = Duration::from_secs(60);
pub(crate) const HOOK_REQUIRED: bool = false;

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

/// The default settings of a stage. Its times follow the opening of the night, so that one key moves the night.
#[derive(Debug)]
pub(crate) struct StageDefaults {
    /// After the opening.
    pub(crate) at: SignedDuration,
    /// After the opening.
    pub(crate) until: Option<SignedDuration>,
    pub(crate) parallel: usize,
    pub(crate) retries: u32,
    pub(crate) backoff: Duration,
    pub(crate) jitter: Duration,
}

pub(crate) fn stage(stage: Stage) -> StageDefaults {
    // In minutes after the opening. If that is at 22:00, these are the times of the runbook: 22:29, 23:45 and so on.
    let (at, until, parallel) = match stage {
        Stage::SnapshotEtcd => (0, None, 1),
        Stage::CollectNode => (10, None, 4),
        Stage::PullEtcd => (29, Some(100), 8),
        Stage::PullNodes => (30, Some(100), 32),
        Stage::CollectMaster => (40, None, 4),
        Stage::MirrorMasters => (105, Some(135), 8),
        Stage::PackArchive => (110, None, 1),
        Stage::ShipArchive => (115, None, 4),
        Stage::Drill => (140, None, 1),
        Stage::Prune => (150, None, 1),
    };
    // So that the masters do not start their uploads in the same second.
    let jitter = if matches!(stage, Stage::ShipArchive) { 5 * 60 } else { 0 };
    StageDefaults {
        at: SignedDuration::from_mins(at),
        until: until.map(SignedDuration::from_mins),
        parallel,
        retries: 3,
        backoff: Duration::from_secs(30),
        jitter: Duration::from_secs(jitter),
    }
}
