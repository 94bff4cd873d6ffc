//! How far one stage has come tonight.

use jiff::Timestamp;

use crate::outcome::Outcome;
use crate::record::{StageRecord, Why};
use crate::stage::Stage;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Running,
    /// Failed; tried again when this time has come.
    Resting {
        until: Timestamp,
    },
    Ended,
}

#[derive(Debug, Clone)]
pub(super) struct Progress {
    pub state: State,
    pub attempts: u32,
    /// What needs this stage may go on, even while it runs once more.
    pub ended_once: bool,
    pub look_again: Option<Timestamp>,
    /// Why it starts next, where that is not just its time.
    pub why: Option<Why>,
    /// Asked for by name: it does not wait for others.
    pub needs_waived: bool,
    pub stopping: bool,
}

impl Progress {
    pub(super) fn waiting() -> Self {
        Self {
            state: State::Waiting,
            attempts: 0,
            ended_once: false,
            look_again: None,
            why: None,
            needs_waived: false,
            stopping: false,
        }
    }

    /// As a record left it: `newest` is the time of the record's last line.
    pub(super) fn recorded(stage: Stage, record: &StageRecord, retries: u32, newest: Timestamp) -> Self {
        let mut progress = Self { attempts: record.attempts, ..Self::waiting() };
        match record.outcome {
            // The daemon ended in the middle of it: that was no failure of its own.
            None | Some(Outcome::Interrupted) => progress.why = Some(Why::CaughtUp),
            Some(Outcome::Failed) if record.attempts <= retries => progress.why = Some(Why::Retry),
            Some(outcome) => {
                progress.state = State::Ended;
                progress.ended_once = true;
                let lacking = matches!(outcome, Outcome::Degraded | Outcome::Failed);
                progress.look_again = (lacking && stage.pulls().is_some()).then_some(newest);
            }
        }
        progress
    }

    /// Whether it should start now, and why.
    pub(super) fn due(&self, now: Timestamp, at: Timestamp, needs_met: bool) -> Option<Why> {
        match self.state {
            State::Waiting if now >= at && (needs_met || self.needs_waived) => {
                Some(self.why.unwrap_or(Why::Due))
            }
            State::Resting { until } if now >= until => Some(Why::Retry),
            State::Ended if self.look_again.is_some_and(|look| now >= look) => Some(Why::LookAgain),
            _ => None,
        }
    }

    pub(super) fn start(&mut self) -> u32 {
        self.state = State::Running;
        self.attempts += 1;
        self.look_again = None;
        self.why = None;
        self.needs_waived = false;
        self.attempts
    }

    /// Runs once more, after whatever it needs has ended again.
    pub(super) fn repeat(&mut self, why: Why) {
        self.state = State::Waiting;
        self.why = Some(why);
        self.ended_once = false;
    }
}
