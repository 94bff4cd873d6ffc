//! `now.json`: a host's current state, published for the other hosts. It is a hint, never trusted for integrity.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{ClusterName, HostName};
use crate::night::Night;
use crate::outcome::Outcome;
use crate::settings::Settings;
use crate::stage::Stage;
use crate::text::Text;

pub const FILE: &str = "now.json";
pub const FORMAT: u32 = 1;
/// How many bytes of another host's hint are read at most.
pub const MAX_BYTES: u64 = 256 << 10;

/// A larger difference between two hosts' clocks is reported.
const MAX_CLOCK_DIFFERENCE: SignedDuration = SignedDuration::from_secs(60);
/// A daemon writes its hint every minute. If the hint is older than this, the daemon does not run.
const MAX_HINT_AGE: SignedDuration = SignedDuration::from_mins(5);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hint {
    pub format: u32,
    pub version: Text,
    pub cluster: ClusterName,
    pub host: HostName,
    pub zone: Text,
    pub night: Option<Night>,
    /// The hash of the hosts and their roles.
    pub inventory: Digest,
    /// The hash of the night's opening, closing and time zone.
    pub window: Digest,
    pub at: Timestamp,
    pub synchronised: bool,
    pub stages: BTreeMap<Stage, StageHint>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageHint {
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
}

impl fmt::Display for StageHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "{}: {reason}", self.outcome),
            None => write!(f, "{}", self.outcome),
        }
    }
}

#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

impl Hint {
    /// Reads a hint from an untrusted source; `None` if it is damaged, or of a newer format.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let Versioned { format } = serde_json::from_slice(bytes).ok()?;
        if format > FORMAT {
            return None;
        }
        serde_json::from_slice(bytes).ok()
    }

    /// How a stage of a night ended, if that night is open there and the stage ended.
    pub fn stage(&self, night: Night, stage: Stage) -> Option<&StageHint> {
        self.stages.get(&stage).filter(|_| self.night == Some(night))
    }

    /// What is wrong with a peer's hint, compared with this host's at `now`: one reason each.
    pub fn oddities(&self, ours: &Self, now: Timestamp) -> Vec<String> {
        let mut odd = Vec::new();
        let age = now.duration_since(self.at);
        if age > MAX_HINT_AGE {
            odd.push(format!(
                "its daemon last updated `{FILE}` {:#} ago; check that the daemon runs there",
                SignedDuration::from_secs(age.as_secs())
            ));
        } else if age < -MAX_CLOCK_DIFFERENCE {
            odd.push(format!(
                "its clock is {:#} ahead of this host's",
                SignedDuration::from_secs(-age.as_secs())
            ));
        }
        if self.cluster != ours.cluster {
            odd.push(format!("it belongs to cluster `{}`, this host to `{}`", self.cluster, ours.cluster));
        }
        if self.window != ours.window {
            let what = if self.zone == ours.zone {
                "its `opens` or `closes` in [night] differs from this host's".to_owned()
            } else {
                format!("its time zone is {}, this host's {}", self.zone, ours.zone)
            };
            odd.push(format!("{what}; make the config the same"));
        }
        if self.inventory != ours.inventory {
            odd.push("its inventory differs from this host's; make `[hosts]` the same".to_owned());
        }
        odd
    }
}

/// Equal on two hosts if their inventories are the same.
pub fn inventory_digest(settings: &Settings) -> Digest {
    let hosts: Vec<String> =
        settings.inventory.hosts().map(|host| format!("{} {}\n", host.name, host.roles)).collect();
    Digest::of(hosts.concat().as_bytes())
}

/// Equal on two hosts if their nights open and close at the same times.
pub fn window_digest(settings: &Settings) -> Digest {
    let window = &settings.window;
    Digest::of(format!("{} {} {}", window.opens, window.closes, zone_name(settings)).as_bytes())
}

pub fn zone_name(settings: &Settings) -> String {
    settings.window.zone.iana_name().unwrap_or("local").to_owned()
}
