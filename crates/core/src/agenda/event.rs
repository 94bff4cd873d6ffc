//! What goes into the agenda, and what comes out.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::backup::Backup;
use crate::name::HostName;
use crate::next_night::SkippedNight;
use crate::night::Night;
use crate::outcome::Outcome;
use crate::plan::NightPlan;
use crate::record::StartReason;
use crate::settings::Settings;
use crate::stage::Stage;
use crate::text::Text;

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The heartbeat, or the time of the last [`Action::WakeAt`].
    Tick,
    /// New settings were accepted.
    Reloaded(Arc<Settings>),
    StageEnded(StageResult),
    /// A transfer that continued beside the night brought a set after its stage had ended.
    LateSet,
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

/// A manual request of an operator (`nightshift run`, `nightshift nights close`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManualRequest {
    /// Start these stages now, in the open night or in the named extra night. With `again`, stages that make a set make
    /// another one if tonight's exists.
    Stages { stages: Vec<Stage>, night: Option<Night>, again: bool },
    /// Start all stages now: the waiting ones of the open night; or, in a new extra night, those of `stages` that this host runs. Without
    /// `stages` they are those that make a set. The night may prove a cluster that was `restored` by this plan, or be a
    /// `backup` of the whole cluster.
    Night {
        night: Option<Night>,
        again: bool,
        stages: Vec<Stage>,
        restored: Option<Text>,
        backup: Option<Backup>,
    },
    /// Close the open extra night.
    Close,
    /// The cluster was restored: close the open night of the schedule, whose sets may be older than the restore. An extra night stays open.
    Restored,
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
    #[error("no extra night is open")]
    NoExtraNight,
    #[error("night {0} is open, and the request names another one; omit `--night`, or wait until it closes")]
    OtherNightOpen(Night),
    #[error(
        "night {0} is over and only its archive is still shipping; try again when `nightshift status` shows it closed"
    )]
    Closed(Night),
    #[error("night {0} is being closed; try again when `nightshift status` shows it closed")]
    Closing(Night),
    #[error("night {night} is not of today ({today}) or yesterday; an extra night is named like {today}.1")]
    NotCurrent { night: Night, today: Date },
    #[error(
        "night {0} is recorded already, and the record of a closed night is never replaced; `nightshift run night` opens the next extra night"
    )]
    Recorded(Night),
    #[error("the last extra night that {0} can have is recorded; name a free one, such as `--night {0}.2`")]
    NoNameLeft(Date),
    #[error(
        "night {0} is a night of the schedule, which opens and closes it; an extra night is named like {0}.1"
    )]
    Scheduled(Night),
}

impl Refusal {
    /// The same request may succeed later.
    pub const fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Running(_)
                | Self::NoNight
                | Self::NoExtraNight
                | Self::OtherNightOpen(_)
                | Self::Closed(_)
                | Self::Closing(_)
        )
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Open(NightPlan),
    /// A night whose record an earlier process left open continues, or is closed.
    Resume(NightPlan),
    Start(Start),
    Stop {
        stage: Stage,
    },
    Miss {
        stage: Stage,
        reason: String,
    },
    Close {
        /// Why it closes before its time.
        early: Option<String>,
    },
    /// A night is due and does not open.
    Hold(Held),
    /// A night was due, and did not open in time.
    Lost(Held),
    /// The next night of the schedule will not open at its time.
    Skip(SkippedNight),
    /// The newest record that is more than 36 h in the future: the clock was wrong when it was written, or is wrong now.
    FutureRecord(Night),
    WakeAt(Timestamp),
}

/// A night that is due and does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub night: Night,
    pub since: Timestamp,
    pub reason: String,
    /// The reason is the clock.
    pub clock: bool,
    /// When it opens although nothing else changes, if that is known.
    pub opens: Option<Timestamp>,
}

/// A stage to start, with everything that was planned for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    pub stage: Stage,
    pub attempt: u32,
    /// It makes another set if tonight's exists.
    pub again: bool,
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
