//! The control socket: one JSON line asks, one answers. Who may ask is the socket's mode, and checked again.

mod client;
mod server;

use nightshift_core::night::Night;
use nightshift_core::set_path::SetId;
use nightshift_core::stage::Stage;
use serde::{Deserialize, Serialize};

pub use client::{ClientError, ask};
pub(crate) use server::{Pending, Server, ServerError, converse};

use crate::status::Report;

/// The longest line taken from a client: a list of stages is short.
const LONGEST_REQUEST: u64 = 64 << 10;
/// The longest answer: the status of a master with 2,000 nodes.
const LONGEST_ANSWER: u64 = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    Status,
    Reload,
    /// These stages, now.
    Run {
        stages: Vec<Stage>,
        night: Option<Night>,
        wait: bool,
    },
    /// The whole night, now.
    RunNight {
        wait: bool,
    },
    /// A person says that a suspicious or diverged set is right.
    Accept {
        set: SetId,
    },
    /// What the daemon, in its sandbox, can read of what it is to collect.
    Readable,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    Status(Box<Report>),
    Done {
        message: String,
    },
    /// What was asked for was done, and did not go well.
    Degraded {
        message: String,
    },
    Failed {
        message: String,
    },
    /// A config that is refused, with its diagnostics.
    ConfigRefused {
        diagnostics: String,
    },
    /// It cannot be done now.
    Busy {
        message: String,
    },
    Readable {
        faults: Vec<String>,
        notes: Vec<String>,
    },
}
