//! What a host stores, and how its last nights went: only what is on disk, so that a restart changes nothing of it. Ages are left
//! to the reader, who knows the time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::etcd_facts::AgreementState;
use crate::name::{HostName, RemoteName, TargetName};
use crate::outcome::{Outcome, Verdict};
use crate::proof::DrillVerdict;
use crate::role::Role;
use crate::stage::Stage;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The daemon refused the last reload, and the old configuration stays in force.
    pub reload_refused: bool,
    /// The newest scheduled night that has closed.
    pub last_closed: Option<ClosedNight>,
    /// When the last restorable night opened: its data is not older.
    pub last_restorable: Option<Timestamp>,
    /// From when on the backups are stale, unless another night becomes restorable.
    pub stale_from: Option<Timestamp>,
    /// The next openings: several, so that the answer stays true while no daemon runs.
    pub openings: Vec<Timestamp>,
    /// How each stage ended when it last did.
    pub stages: BTreeMap<Stage, LastRun>,
    /// The last good set of each expected host and role in this host's vault.
    pub sets: Vec<LastSet>,
    /// How many sets the last settled night lacks. Roles of which it expected none are absent.
    pub missing: BTreeMap<Role, u32>,
    /// How many hosts have a set that an operator has to review: one newer than their last good one, or one that retention waits for.
    pub awaiting: BTreeMap<Role, u32>,
    pub snapshots: Vec<LastSnapshot>,
    /// What the members' comparison gave in the last settled night; `None` without one, or with a single member.
    pub agreement: Option<AgreementState>,
    pub drills: Vec<LastDrill>,
    pub certificates: Vec<ExpiringCertificate>,
    /// When the last notice arrived at each target.
    pub notified: BTreeMap<TargetName, Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedNight {
    pub at: Timestamp,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    pub outcome: Outcome,
    pub started: Timestamp,
    pub duration_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSet {
    pub host: HostName,
    pub role: Role,
    pub made_at: Timestamp,
    /// The sum of all file sizes.
    pub bytes: u64,
}

/// The etcd snapshot in the last good etcd set of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSnapshot {
    pub host: HostName,
    pub made_at: Timestamp,
    pub revision: i64,
    /// As `etcdutl snapshot status` counts them. `None` for a set without v3 keys.
    pub keys: Option<u64>,
    pub bytes: u64,
    /// The masters and remotes that have it; `None` on a host that does not know them.
    pub copies: Option<u64>,
}

/// The drills of the etcd sets of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastDrill {
    pub host: HostName,
    pub verdict: DrillVerdict,
    pub took_ms: u64,
    /// When one last proved a set that is still stored.
    pub proved: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteState {
    pub name: RemoteName,
    /// The last archive that was verified there.
    pub shipped: Option<Timestamp>,
    pub bytes: Option<u64>,
    /// How many archives in the outbox it does not have.
    pub waiting: u64,
}

/// The file system that contains the vault, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    pub total: u64,
    pub free: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiringCertificate {
    pub host: HostName,
    /// Its path in the set.
    pub path: String,
    pub not_after: Timestamp,
}
