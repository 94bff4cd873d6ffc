//! The agenda: events in, actions out. It decides what is due; it starts nothing itself.
//!
//! Time is an argument, so a year of nights runs in a test in a blink.

mod clock;
mod progress;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

pub use clock::Clock;
use progress::{Progress, State};

use crate::backoff;
use crate::night::Night;
use crate::outcome::Outcome;
use crate::plan::NightPlan;
use crate::record::{Fate, Record, Why};
use crate::settings::Settings;
use crate::stage::Stage;

/// How often a pull whose waiting is over looks once more for what was missing.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(15);
/// So long before the closing it looks for the last time.
const LAST_LOOK: SignedDuration = SignedDuration::from_mins(30);
/// What starts this much after its time is said to be caught up.
const LATE_START: SignedDuration = SignedDuration::from_mins(2);

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The heartbeat, or a wake-up that was asked for.
    Tick,
    /// New settings were accepted.
    Reloaded(Arc<Settings>),
    StageEnded(Ended),
}

/// How a stage that was started came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub stage: Stage,
    pub outcome: Outcome,
    /// Trying again may help.
    pub retry: bool,
    /// It got something that was missing when its waiting ended.
    pub gained: bool,
}

/// What a person asks for by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// These stages, now: in the open night, or in the named extra one.
    Stages { stages: Vec<Stage>, night: Option<Night> },
    /// The whole night, now: what is left of the open one, or an extra night of this name.
    Night { extra: Night },
}

/// Why a person's wish is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0} is running already")]
    Running(Stage),
    #[error("{stage} is not for this host: its roles are {roles}")]
    NotForThisHost { stage: Stage, roles: String },
    #[error(
        "no night is open: `nightshift run night` opens an extra one, `--night` names one that a peer has opened"
    )]
    NoNight,
    #[error("night {0} is open: what you ask for would need another one")]
    OtherNightOpen(Night),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Open(NightPlan),
    Start {
        stage: Stage,
        attempt: u32,
        why: Why,
        until: Timestamp,
    },
    Stop {
        stage: Stage,
    },
    Miss {
        stage: Stage,
        reason: String,
    },
    Close,
    /// A night is due, but the clock is not to be trusted yet.
    Doubt {
        reason: String,
    },
    WakeAt(Timestamp),
}

#[derive(Debug)]
pub struct Agenda {
    settings: Arc<Settings>,
    open: Option<OpenNight>,
    /// The newest night that was ever open here, and the last thing that happened in it.
    newest: Option<(Night, Timestamp)>,
    doubted: Option<String>,
}

#[derive(Debug)]
struct OpenNight {
    plan: NightPlan,
    stages: BTreeMap<Stage, Progress>,
    /// Something came after packing, so the archive is packed once more when no look is left.
    gained: bool,
}

impl Agenda {
    /// Takes up where the records end: `newest` is the last of them, open or closed.
    pub fn new(settings: Arc<Settings>, newest: Option<&Record>) -> Self {
        let mut agenda = Self { settings, open: None, newest: None, doubted: None };
        if let Some(record) = newest {
            agenda.newest = Some((record.night, record.newest));
            if record.closed.is_none() {
                agenda.open = Some(OpenNight::resumed(&agenda.settings, record));
            }
        }
        agenda
    }

    pub fn night(&self) -> Option<&NightPlan> {
        self.open.as_ref().map(|open| &open.plan)
    }

    /// Takes an event and says what to do next. The last action is always when to wake.
    pub fn step(&mut self, clock: Clock, event: Event) -> Vec<Action> {
        match event {
            Event::Tick => {}
            Event::Reloaded(settings) => self.reload(settings),
            Event::StageEnded(ended) => self.ended(clock.now, &ended),
        }
        self.advance(clock)
    }

    /// Takes a person's wish, or says why not.
    pub fn ask(&mut self, clock: Clock, ask: Ask) -> Result<Vec<Action>, Refusal> {
        let roles = self.settings.roles();
        let mut actions = Vec::new();
        match ask {
            Ask::Night { extra } => {
                if self.open.is_none() {
                    let stages: Vec<Stage> = Stage::ALL
                        .into_iter()
                        .filter(|stage| stage.makes().is_some() && stage.runs_on(roles))
                        .collect();
                    actions.push(self.open_extra(extra, clock.now, &stages));
                }
                if let Some(open) = &mut self.open {
                    open.hasten(clock.now);
                }
            }
            Ask::Stages { stages, night } => {
                if let Some(stage) = stages.iter().find(|stage| !stage.runs_on(roles)) {
                    return Err(Refusal::NotForThisHost { stage: *stage, roles: roles.to_string() });
                }
                match (&self.open, night) {
                    (Some(open), Some(night)) if open.plan.night != night => {
                        return Err(Refusal::OtherNightOpen(open.plan.night));
                    }
                    (None, Some(night)) => actions.push(self.open_extra(night, clock.now, &stages)),
                    (None, None) => return Err(Refusal::NoNight),
                    (Some(_), _) => {}
                }
                let settings = Arc::clone(&self.settings);
                if let Some(open) = &mut self.open {
                    open.demand(&settings, &stages, clock.now)?;
                }
            }
        }
        actions.extend(self.advance(clock));
        Ok(actions)
    }

    fn open_extra(&mut self, night: Night, now: Timestamp, stages: &[Stage]) -> Action {
        let plan = NightPlan::extra(&self.settings, night, now, stages);
        self.begin(plan)
    }

    fn begin(&mut self, plan: NightPlan) -> Action {
        self.open = Some(OpenNight::fresh(plan.clone()));
        self.newest = Some((plan.night, self.newest.map_or(plan.opens, |(_, at)| at.max(plan.opens))));
        Action::Open(plan)
    }

    /// Times, `until` and retries of what has not begun change tonight; the night itself stays as it opened.
    fn reload(&mut self, settings: Arc<Settings>) {
        if let Some(open) = &mut self.open
            && !open.plan.night.is_extra()
        {
            let fresh = NightPlan::of(&settings, open.plan.night.date);
            open.replan(fresh);
        }
        self.settings = settings;
    }

    fn ended(&mut self, now: Timestamp, ended: &Ended) {
        let settings = Arc::clone(&self.settings);
        let Some(open) = &mut self.open else { return };
        open.gained |= ended.gained;
        let Some(planned) = open.plan.stage(ended.stage) else { return };
        let (until, last_look) = (planned.until, open.plan.closes.checked_sub(LAST_LOOK).unwrap_or(now));
        let wanted = settings.stages.get(ended.stage);
        let seed = format!("{}/{}/{}", settings.this, open.plan.night, ended.stage);
        let Some(progress) = open.stages.get_mut(&ended.stage) else { return };

        let pause = backoff::pause(wanted.backoff, progress.attempts, &seed);
        let next = now.checked_add(pause).unwrap_or(Timestamp::MAX);
        let again = ended.retry
            && ended.outcome == Outcome::Failed
            && progress.attempts <= wanted.retries
            && next < until;
        progress.state = if again { State::Resting { until: next } } else { State::Ended };
        progress.ended_once |= !again;
        let look = now.checked_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
        let lacking = matches!(ended.outcome, Outcome::Degraded | Outcome::Failed);
        progress.look_again =
            (!again && lacking && ended.stage.pulls().is_some() && look <= last_look).then_some(look);
        if let Some((_, newest)) = &mut self.newest {
            *newest = (*newest).max(now);
        }
    }

    fn advance(&mut self, clock: Clock) -> Vec<Action> {
        let mut actions = Vec::new();
        self.close_if_over(clock.now, &mut actions);
        if self.open.is_none() {
            self.open_if_due(clock, &mut actions);
        }
        if let Some(open) = &mut self.open {
            open.start_what_is_due(clock, &mut actions);
        }
        // A stage may have been missed just now, and with it the last one of an extra night.
        self.close_if_over(clock.now, &mut actions);
        actions.push(Action::WakeAt(self.next_wake(clock.now)));
        actions
    }

    fn close_if_over(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(open) = &mut self.open else { return };
        let all_ended = open.stages.values().all(|progress| progress.state == State::Ended);
        if now >= open.plan.closes {
            open.wind_up(now, actions);
        }
        let idle = open.stages.values().all(|progress| progress.state == State::Ended);
        if (now >= open.plan.closes && idle) || (open.plan.night.is_extra() && all_ended) {
            actions.push(Action::Close);
            self.open = None;
        }
    }

    fn open_if_due(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        let Some(date) = self.settings.window.open_at(clock.now) else { return };
        let night = Night::of(date);
        // A night that was closed is not opened again, whatever the clock says now.
        if self.newest.is_some_and(|(newest, _)| newest.date > date || newest == night) {
            return;
        }
        let plan = NightPlan::of(&self.settings, date);
        if plan.stages.is_empty() {
            return;
        }
        if let Some(reason) = clock.doubt(self.newest.map(|(_, at)| at)) {
            if self.doubted.as_ref() != Some(&reason) {
                self.doubted = Some(reason.clone());
                actions.push(Action::Doubt { reason });
            }
            return;
        }
        self.doubted = None;
        actions.push(self.begin(plan));
    }

    fn next_wake(&self, now: Timestamp) -> Timestamp {
        let next_night = self.settings.window.opening(self.settings.window.next_after(now));
        let own = self.open.as_ref().and_then(|open| open.next_wake(now));
        own.map_or(next_night, |own| own.min(next_night))
    }
}

impl OpenNight {
    fn fresh(plan: NightPlan) -> Self {
        let stages = plan.stages.iter().map(|planned| (planned.stage, Progress::waiting())).collect();
        Self { plan, stages, gained: false }
    }

    /// A night that the record left open: what has ended stays ended, what was cut short begins again.
    fn resumed(settings: &Settings, record: &Record) -> Self {
        let plan = if record.night.is_extra() {
            NightPlan::extra(settings, record.night, record.opened, &record.planned)
        } else {
            NightPlan::of(settings, record.night.date)
        };
        let mut open = Self::fresh(plan);
        for (stage, progress) in &mut open.stages {
            if let Some(state) = record.stages.get(stage) {
                *progress =
                    Progress::recorded(*stage, state, settings.stages.get(*stage).retries, record.newest);
            }
        }
        open.gained = !record.archives.is_empty()
            && record.archives.len() < 2
            && record.sets.iter().any(|report| report.fate == Fate::Late);
        open
    }

    /// Takes the new times for what has not begun; what has begun keeps its own.
    fn replan(&mut self, fresh: NightPlan) {
        let begun = |stages: &BTreeMap<Stage, Progress>, stage| {
            stages.get(&stage).is_some_and(|progress: &Progress| progress.attempts > 0)
        };
        let kept: Vec<_> =
            self.plan.stages.iter().filter(|planned| begun(&self.stages, planned.stage)).cloned().collect();
        let mut planned: Vec<_> =
            fresh.stages.into_iter().filter(|planned| !begun(&self.stages, planned.stage)).collect();
        for stage in &mut planned {
            // Hosts change from the next night on, so tonight's peers stay as they were.
            if let Some(old) = self.plan.stage(stage.stage) {
                stage.peers.clone_from(&old.peers);
            }
            stage.until = stage.until.min(self.plan.closes);
        }
        planned.extend(kept);
        planned.sort_by_key(|planned| planned.stage);
        self.stages.retain(|stage, _| planned.iter().any(|planned| planned.stage == *stage));
        for stage in &planned {
            self.stages.entry(stage.stage).or_insert_with(Progress::waiting);
        }
        self.plan.stages = planned;
    }

    /// Lets everything that still waits start now, in the order of its needs.
    fn hasten(&mut self, now: Timestamp) {
        for planned in &mut self.plan.stages {
            if let Some(progress) = self.stages.get_mut(&planned.stage)
                && matches!(progress.state, State::Waiting | State::Resting { .. })
            {
                planned.at = planned.at.min(now);
                progress.state = State::Waiting;
                progress.why = Some(Why::Asked);
            }
        }
    }

    fn demand(&mut self, settings: &Settings, stages: &[Stage], now: Timestamp) -> Result<(), Refusal> {
        let running = |stage: &&Stage| self.stages.get(*stage).is_some_and(|p| p.state == State::Running);
        if let Some(stage) = stages.iter().find(running) {
            return Err(Refusal::Running(*stage));
        }
        let extra = NightPlan::extra(settings, self.plan.night, now, stages);
        for mut planned in extra.stages {
            let stage = planned.stage;
            planned.until = self.plan.closes;
            self.plan.stages.retain(|known| known.stage != stage);
            self.plan.stages.push(planned);
            let progress = self.stages.entry(stage).or_insert_with(Progress::waiting);
            progress.state = State::Waiting;
            progress.why = Some(Why::Asked);
            progress.needs_waived = true;
        }
        self.plan.stages.sort_by_key(|planned| planned.stage);
        Ok(())
    }

    fn start_what_is_due(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        self.repack_if_gained();
        let planned: Vec<_> = self.plan.stages.iter().map(|p| (p.stage, p.at, p.until)).collect();
        for (stage, at, until) in planned {
            let needs_met = self.needs_met(stage);
            let Some(progress) = self.stages.get_mut(&stage) else { continue };
            let Some(why) = progress.due(clock.now, at, needs_met) else { continue };
            if stage == Stage::Prune
                && let Some(reason) = clock.too_doubtful_to_prune()
            {
                progress.state = State::Ended;
                progress.ended_once = true;
                actions.push(Action::Miss { stage, reason });
                continue;
            }
            let late = clock.now.duration_since(at) > LATE_START;
            let why = if why == Why::Due && late && stage.needs().is_empty() { Why::CaughtUp } else { why };
            // What looks again, or was held up past its time, still has until the closing to fetch what is there.
            let until = if why == Why::LookAgain { clock.now } else { until };
            let attempt = progress.start();
            actions.push(Action::Start { stage, attempt, why, until });
        }
    }

    /// Packs and ships once more when something came late, after the last look.
    fn repack_if_gained(&mut self) {
        let looking = self.stages.iter().any(|(stage, progress)| {
            stage.pulls().is_some() && (progress.look_again.is_some() || progress.state != State::Ended)
        });
        let packed = self.stages.get(&Stage::PackArchive).is_some_and(|p| p.state == State::Ended);
        let shipping = self.stages.get(&Stage::ShipArchive).is_some_and(|p| p.state == State::Running);
        if !self.gained || looking || !packed || shipping {
            return;
        }
        self.gained = false;
        for stage in [Stage::PackArchive, Stage::ShipArchive] {
            if let Some(progress) = self.stages.get_mut(&stage) {
                progress.repeat(Why::Repack);
            }
        }
    }

    fn needs_met(&self, stage: Stage) -> bool {
        stage.needs().iter().all(|need| self.stages.get(need).is_none_or(|progress| progress.ended_once))
    }

    /// At the closing: stops what runs and gives up what waits, but lets a packed archive go on shipping.
    fn wind_up(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let packed = self.stages.get(&Stage::PackArchive).is_some_and(|p| p.ended_once);
        for (stage, progress) in &mut self.stages {
            let ships_on = *stage == Stage::ShipArchive && packed && now < self.plan.next_opens;
            match progress.state {
                State::Ended => progress.look_again = None,
                _ if ships_on => {}
                State::Running => {
                    if !progress.stopping {
                        progress.stopping = true;
                        actions.push(Action::Stop { stage: *stage });
                    }
                }
                State::Waiting | State::Resting { .. } => {
                    progress.state = State::Ended;
                    progress.ended_once = true;
                    let reason = if progress.attempts > 0 {
                        "the night closed before it could be tried again"
                    } else {
                        "the night closed before it could run"
                    };
                    actions.push(Action::Miss { stage: *stage, reason: reason.to_owned() });
                }
            }
        }
    }

    fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let stages = self.plan.stages.iter().filter_map(|planned| {
            let progress = self.stages.get(&planned.stage)?;
            match progress.state {
                State::Waiting => Some(planned.at),
                State::Resting { until } => Some(until),
                State::Ended => progress.look_again,
                State::Running => None,
            }
        });
        stages.chain([self.plan.closes, self.plan.next_opens]).filter(|at| *at > now).min()
    }
}
