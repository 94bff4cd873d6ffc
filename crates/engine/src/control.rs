//! The control socket: one line of JSON is the request, one line the response. The mode of the socket and a check of the
//! peer's credentials limit it to root, the daemon's user and the group nightshift-ctl.

mod client;
mod server;

use std::time::Duration;

use jiff::civil::Date;
use nightshift_core::backup::Backup;
use nightshift_core::name::{HostName, TargetName};
use nightshift_core::night::Night;
use nightshift_core::set_path::SetId;
use nightshift_core::stage::Stage;
use nightshift_core::text::{InvalidJson, Text};
use serde::{Deserialize, Serialize};

pub use client::{ClientError, is_running, send};
pub(crate) use server::{Pending, Server, ServerError, refuse_client, serve_client};

use crate::status::Report;

/// The maximum bytes of a request, which is at most a list of hosts.
const MAX_REQUEST_LEN: u64 = 512 << 10;
/// The maximum bytes of a response: the status of a master with 2,000 nodes has a few MiB.
const MAX_RESPONSE_LEN: u64 = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ControlRequest {
    Status {
        /// With the facts that metrics are made of.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        facts: bool,
    },
    Reload,
    /// Runs these stages now.
    Run {
        stages: Vec<Stage>,
        night: Option<Night>,
        wait: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// Runs all stages now.
    RunNight {
        wait: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        night: Option<Night>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
        /// The stages of a new extra night; without them, those that make a set.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        stages: Vec<Stage>,
        /// The plan of the restore that the night proves. A set is not doubted for what that has changed in etcd.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restored: Option<Text>,
        /// It is a backup of the whole cluster, which all hosts run at the same time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backup: Option<Backup>,
    },
    /// Closes the open extra night.
    CloseNight,
    /// Closes the open night of the schedule, because the cluster was restored.
    Restored,
    /// Marks a suspicious or diverged set as reviewed and good.
    Accept {
        set: SetId,
    },
    /// Keeps a night from being pruned, to the end of a day or until it is released.
    Keep {
        night: Night,
        until: Option<Date>,
    },
    /// No longer keeps a night.
    Release {
        night: Night,
    },
    /// Removes all sets of a host that has left the inventory.
    Forget {
        host: HostName,
    },
    /// Remembers that an archive was opened with a key that belongs to this recipient of the configuration.
    Opened {
        archive: String,
        recipient: String,
    },
    /// A test of this target has arrived; not for these recipients, if some are named.
    Notified {
        target: TargetName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<String>,
    },
    /// Checks which of the configured files the daemon can read in its sandbox.
    Readable,
}

impl ControlRequest {
    /// The time for a response; `None` if that comes when stages have ended.
    const fn time_limit(&self) -> Option<Duration> {
        match self {
            Self::Run { wait: true, .. } | Self::RunNight { wait: true, .. } => None,
            // Without the daemon the commands read the records themselves.
            Self::Status { .. } => Some(Duration::from_secs(10)),
            // The daemon reads files for a client for at most a minute.
            _ => Some(Duration::from_secs(70)),
        }
    }

    /// Reads the line of a client; an invalid one is refused with the response.
    pub fn decode(line: &[u8]) -> Result<Self, ControlResponse> {
        serde_json::from_slice(line).map_err(|error| ControlResponse::Failed {
            message: format!(
                "invalid request: {}; is the command of another version than the daemon?",
                InvalidJson::from(error)
            ),
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum ControlResponse {
    Status(Box<Report>),
    Done {
        message: String,
    },
    /// The requested stages ended, and the worst one is degraded.
    Degraded {
        message: String,
    },
    Failed {
        message: String,
    },
    /// The configuration is invalid; the old settings stay in force.
    ConfigRefused {
        diagnostics: String,
    },
    /// The request cannot succeed on this host, now or later.
    Refused {
        message: String,
    },
    /// Not possible now; a later request may succeed.
    Busy {
        message: String,
    },
    Readable {
        faults: Vec<String>,
        notes: Vec<String>,
    },
}
