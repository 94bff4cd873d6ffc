//! What goes into the agenda, and what comes out.

use std::sync::Arc;

use jiff::Timestamp;

use crate::name::HostName;
use crate::night::Night;
use crate::outcome::Outcome;
use crate::plan::NightPlan;
use crate::record::StartReason;
use crate::settings::Settings;
use crate::stage::Stage;

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The heartbeat, or the time of the last [`Action::WakeAt`].
    Tick,
    /// New settings were accepted.
    Reloaded(Arc<Settings>),
    StageEnded(StageResult),
}

/// The result of a stage that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageResult {
    pub stage: Stage,
    pub outcome: Outcome,
    /// The failure may be temporary, so a retry may succeed.
    pub retry: bool,
    /// It pulled a set that was missing at the stage's `until`.
    pub gained: bool,
}

/// A manual request of an operator (`nightshift run`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManualRequest {
    /// Start these stages now, in the open night or in the named extra night.
    Stages { stages: Vec<Stage>, night: Option<Night> },
    /// Start all stages now: the waiting ones of the open night, or those of a new extra night of this name.
    Night { extra: Night },
}

/// Why a manual request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0} is already running; `nightshift status` shows its progress")]
    Running(Stage),
    #[error("{stage} does not run on this host, whose roles are: {roles}")]
    NotForThisHost { stage: Stage, roles: String },
    #[error(
        "no night is open; `nightshift run night` opens an extra night, `--night` joins one that a peer has opened"
    )]
    NoNight,
    #[error("night {0} is open, and the request names another one; omit `--night`, or wait until it closes")]
    OtherNightOpen(Night),
    #[error(
        "night {0} is over and only its archive is still shipping; try again when `nightshift status` shows it closed"
    )]
    Closed(Night),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Open(NightPlan),
    Start(Start),
    Stop {
        stage: Stage,
    },
    Miss {
        stage: Stage,
        reason: String,
    },
    Close,
    /// A night is due, but it does not open because the clock cannot be trusted.
    Doubt {
        reason: String,
    },
    WakeAt(Timestamp),
}

/// A stage to start, with everything that was planned for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    pub stage: Stage,
    pub attempt: u32,
    pub why: StartReason,
    /// When it was planned to start.
    pub at: Timestamp,
    /// Until when it waits for missing sets.
    pub until: Timestamp,
    /// The hosts whose sets it pulls.
    pub peers: Vec<HostName>,
    /// Tonight's settings; a later reload does not change them for this start.
    pub settings: Arc<Settings>,
}
