//! The agenda: events in, actions out. It decides what is due; the daemon carries out the actions.
//!
//! Time is an argument, so a test runs a year of nights in a second.

mod clock;
mod event;
mod open_night;
mod progress;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

pub use clock::Clock;
use clock::Doubt;
pub use event::{Action, Event, ManualRequest, Refusal, StageResult, Start};
use open_night::OpenNight;

use crate::night::Night;
use crate::plan::NightPlan;
use crate::record::Record;
use crate::settings::Settings;
use crate::stage::Stage;

#[derive(Debug)]
pub struct Agenda {
    /// The settings in force: those of the next night. The open night has its own.
    settings: Arc<Settings>,
    open: Option<OpenNight>,
    /// The newest night that was ever open on this host, and the time of the last line in its record.
    newest: Option<(Night, Timestamp)>,
    /// The newest scheduled night. `newest` may be an extra night that was opened after it.
    scheduled: Option<Date>,
    /// The last reported reason not to trust the clock: each reason is reported once.
    doubted: Option<Doubt>,
}

impl Agenda {
    /// Continues from the records: `newest` is the last of them, open or closed.
    pub fn new(settings: Arc<Settings>, newest: Option<&Record>) -> Self {
        let mut agenda = Self { settings, open: None, newest: None, scheduled: None, doubted: None };
        if let Some(record) = newest {
            agenda.newest = Some((record.night, record.newest));
            agenda.scheduled = (!record.night.is_extra()).then_some(record.night.date);
            if record.closed.is_none() {
                agenda.open = Some(OpenNight::resumed(Arc::clone(&agenda.settings), record));
            }
        }
        agenda
    }

    /// The settings in force. A stage gets tonight's settings, which may be older, with [`Action::Start`].
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    pub fn night(&self) -> Option<&NightPlan> {
        self.open.as_ref().map(|open| &open.plan)
    }

    /// Whether a stage neither runs nor waits. A pull that has ended may still retry for missing sets.
    pub fn has_ended(&self, stage: Stage) -> bool {
        self.open.as_ref().is_none_or(|open| open.has_ended(stage))
    }

    /// Handles an event and returns what to do next. The last action is always [`Action::WakeAt`].
    pub fn step(&mut self, clock: Clock, event: Event) -> Vec<Action> {
        match event {
            Event::Tick => {}
            Event::Reloaded(settings) => self.reload(settings),
            Event::StageEnded(ended) => self.ended(clock.now, &ended),
        }
        self.advance(clock)
    }

    /// Handles a manual request, or returns why it is refused.
    pub fn request(&mut self, clock: Clock, request: ManualRequest) -> Result<Vec<Action>, Refusal> {
        let roles = self.settings.roles();
        let mut actions = Vec::new();
        if let Some(open) = self.open.as_ref().filter(|open| clock.now >= open.plan.closes) {
            return Err(Refusal::Closed(open.plan.night));
        }
        match request {
            ManualRequest::Night { extra } => {
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
            ManualRequest::Stages { stages, night } => {
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
                if let Some(open) = &mut self.open {
                    open.demand(&stages, clock.now)?;
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
        self.open = Some(OpenNight::fresh(Arc::clone(&self.settings), plan.clone()));
        if !plan.night.is_extra() {
            self.scheduled = Some(plan.night.date);
        }
        self.newest = Some((plan.night, self.newest.map_or(plan.opens, |(_, at)| at.max(plan.opens))));
        Action::Open(plan)
    }

    /// Stages of the open night that have not begun take their new settings; everything else changes from the next night.
    fn reload(&mut self, settings: Arc<Settings>) {
        if let Some(open) = &mut self.open {
            open.reload(&settings);
        }
        self.settings = settings;
    }

    fn ended(&mut self, now: Timestamp, ended: &StageResult) {
        let Some(open) = &mut self.open else { return };
        open.ended(now, ended);
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
        // `start_what_is_due` may have recorded the last stage of an extra night as missed.
        self.close_if_over(clock.now, &mut actions);
        actions.push(Action::WakeAt(self.next_wake(clock.now)));
        actions
    }

    fn close_if_over(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(open) = &mut self.open else { return };
        let all_ended = open.all_ended();
        if now >= open.plan.closes {
            open.wind_up(now, actions);
        }
        let idle = open.all_ended();
        if (now >= open.plan.closes && idle) || (open.plan.night.is_extra() && all_ended) {
            actions.push(Action::Close);
            self.open = None;
        }
    }

    fn open_if_due(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        let Some(date) = self.settings.window.open_at(clock.now) else { return };
        // A closed night never opens again, also when the clock jumps back into it.
        if self.newest.is_some_and(|(newest, _)| newest.date > date) || self.scheduled >= Some(date) {
            return;
        }
        let plan = NightPlan::of(&self.settings, date);
        if plan.stages.is_empty() {
            return;
        }
        let newest = self.newest.map(|(_, at)| at);
        if let Some(doubt) = clock.doubt(newest) {
            if self.doubted.replace(doubt) != Some(doubt) {
                let reason = clock.explain(doubt, newest, &self.settings.window.zone);
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
