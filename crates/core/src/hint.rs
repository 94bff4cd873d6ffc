//! `now.json`: a host's hint to the others about how it fares. Never trusted for integrity.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{ClusterName, HostName};
use crate::night::Night;
use crate::outcome::Outcome;
use crate::settings::Settings;
use crate::stage::Stage;

pub const FILE: &str = "now.json";
pub const FORMAT: u32 = 1;
/// The most bytes that are read of another host's hint.
pub const MOST_BYTES: u64 = 256 << 10;

/// Clocks further apart than this are reported.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);
/// A hint older than this comes from a daemon that no longer runs.
const STALE_AFTER: SignedDuration = SignedDuration::from_mins(5);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hint {
    pub format: u32,
    pub version: String,
    pub cluster: ClusterName,
    pub host: HostName,
    pub zone: String,
    pub night: Option<Night>,
    /// Of the hosts and their roles.
    pub inventory: Digest,
    /// Of opening, closing and zone.
    pub window: Digest,
    pub at: Timestamp,
    pub synchronised: bool,
    pub stages: BTreeMap<Stage, StageHint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd_revision: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageHint {
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Hint {
    /// What of a peer's hint an operator should hear of, compared with ours at `now`.
    pub fn oddities(&self, ours: &Self, now: Timestamp) -> Vec<String> {
        let mut odd = Vec::new();
        let age = now.duration_since(self.at);
        if age > STALE_AFTER {
            odd.push(format!("its daemon last spoke at {}: is it running?", self.at));
        } else if age < -CLOCK_TOLERANCE {
            odd.push(format!("its clock is {} s ahead of ours", -age.as_secs()));
        }
        if self.cluster != ours.cluster {
            odd.push(format!("it belongs to cluster `{}`", self.cluster));
        }
        if self.window != ours.window {
            odd.push(format!("its nights are not ours: it has zone {}", self.zone));
        }
        if self.inventory != ours.inventory {
            odd.push("its inventory differs from ours".to_owned());
        }
        odd
    }
}

/// What two hosts must agree on to hold the same inventory.
pub fn inventory_digest(settings: &Settings) -> Digest {
    let hosts: Vec<String> =
        settings.inventory.hosts().map(|host| format!("{} {}\n", host.name, host.roles)).collect();
    Digest::of(hosts.concat().as_bytes())
}

/// What two hosts must agree on to have the same nights.
pub fn window_digest(settings: &Settings) -> Digest {
    let window = &settings.window;
    Digest::of(format!("{} {} {}", window.opens, window.closes, zone_name(settings)).as_bytes())
}

pub fn zone_name(settings: &Settings) -> String {
    settings.window.zone.iana_name().unwrap_or("local").to_owned()
}
