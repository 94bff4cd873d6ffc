//! The last restorable night: how old its data is, and who proved it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::HostName;
use crate::proof::DrillVerdict;
use crate::set_path::SetId;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorableNight {
    /// When it opened: its data is not older.
    pub opened: Timestamp,
    /// How many etcd sets of it this host has.
    pub etcd_sets: u32,
    /// The drill of one of them that counts most: one that failed, else the newest. `None` if this host has no result of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<SetDrill>,
}

/// A drill of an etcd set, which proved it or found that it does not restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDrill {
    pub set: SetId,
    /// The host that made the drill.
    pub by: HostName,
    pub at: Timestamp,
    pub verdict: DrillVerdict,
}
