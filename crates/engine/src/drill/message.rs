//! The worker's messages, one line of JSON each.

use std::os::unix::fs::MetadataExt as _;

use nightshift_core::proof::{DrillReport, DrillStep};
use serde::{Deserialize, Serialize};

/// The maximum length of a line in bytes: a report with its comparisons.
pub const MAX_MESSAGE_LEN: u64 = 256 << 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum WorkerMessage {
    /// Sent as soon as the job is read: it distinguishes a worker that was killed from one that never started.
    Hello {
        /// The number of the network namespace that the worker is in.
        #[serde(default)]
        network: Option<u64>,
    },
    #[serde(rename = "begun")]
    Started {
        step: String,
    },
    Done(DrillStep),
    Report(DrillReport),
}

/// The network namespace of this process; `None` if it cannot be read.
pub fn network() -> Option<u64> {
    std::fs::metadata("/proc/self/ns/net").ok().map(|namespace| namespace.ino())
}
