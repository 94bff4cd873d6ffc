//! The progress of one stage tonight.

use jiff::Timestamp;

use crate::outcome::Outcome;
use crate::record::{StageRecord, StartReason};
use crate::stage::Stage;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Running,
    /// Failed, and waiting for its retry at `until`.
    Backoff {
        until: Timestamp,
    },
    Ended,
}

#[derive(Debug, Clone)]
pub(super) struct Progress {
    pub state: State,
    pub attempts: u32,
    /// Stages that need this one may start, also while it runs again.
    pub ended_once: bool,
    /// When an ended stage is tried once more for what was absent, and as what.
    pub next_try: Option<(Timestamp, StartReason)>,
    /// Why it starts next, if not because it is due.
    pub why: Option<StartReason>,
    /// An operator requested it by name, so it does not wait for the stages it needs.
    pub needs_waived: bool,
    /// An operator requested another set, although tonight's exists.
    pub again: bool,
    pub stopping: bool,
    /// When its first attempt started.
    pub begun: Option<Timestamp>,
}

impl Progress {
    pub(super) fn waiting() -> Self {
        Self {
            state: State::Waiting,
            attempts: 0,
            ended_once: false,
            next_try: None,
            why: None,
            needs_waived: false,
            again: false,
            stopping: false,
            begun: None,
        }
    }

    /// Continues from a record: `newest` is the time of the record's last line.
    pub(super) fn recorded(stage: Stage, record: &StageRecord, retries: u32, newest: Timestamp) -> Self {
        let mut progress = Self { attempts: record.attempts, ..Self::waiting() };
        match record.outcome {
            // The daemon stopped or crashed while it ran: this does not count as a failure of the stage.
            None | Some(Outcome::Interrupted) => {
                progress.why = Some(StartReason::CaughtUp);
                progress.needs_waived = record.why == StartReason::Requested;
            }
            Some(Outcome::Failed) if record.attempts <= retries => progress.why = Some(StartReason::Retry),
            Some(outcome) => {
                progress.state = State::Ended;
                progress.ended_once = true;
                progress.next_try = tried_later(stage, outcome, retries).map(|why| (newest, why));
            }
        }
        progress
    }

    /// Whether it should start now, and why.
    pub(super) fn due(&self, now: Timestamp, at: Timestamp, needs_met: bool) -> Option<StartReason> {
        match self.state {
            State::Waiting if now >= at && (needs_met || self.needs_waived) => {
                Some(self.why.unwrap_or(StartReason::Due))
            }
            State::Backoff { until } if now >= until => Some(StartReason::Retry),
            State::Ended => self.next_try.filter(|(at, _)| now >= *at).map(|(_, why)| why),
            _ => None,
        }
    }

    pub(super) fn start(&mut self, now: Timestamp) -> u32 {
        self.begun.get_or_insert(now);
        self.state = State::Running;
        self.attempts += 1;
        self.next_try = None;
        self.why = None;
        self.needs_waived = false;
        self.attempts
    }

    /// Schedules one more run, after the stages it needs have ended again.
    pub(super) fn repeat(&mut self, why: StartReason) {
        self.state = State::Waiting;
        self.why = Some(why);
        self.ended_once = false;
        self.begun = None;
    }
}

/// As what a stage that has ended is tried once more before the closing: a pull for the sets that it lacks, a set of this host or a
/// shipment because what it needs may have been absent. With `retries = 0` nothing is retried but the pulls.
pub(super) const fn tried_later(stage: Stage, outcome: Outcome, retries: u32) -> Option<StartReason> {
    match outcome {
        Outcome::Degraded | Outcome::Failed if stage.pulls().is_some() => Some(StartReason::MissingSets),
        Outcome::Failed
            if retries > 0 && (stage.makes().is_some() || matches!(stage, Stage::ShipArchive)) =>
        {
            Some(StartReason::Retry)
        }
        _ => None,
    }
}
