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

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

pub use clock::{Clock, SYNCHRONISE};
pub use event::{Action, Event, Held, ManualRequest, Refusal, StageResult, Start};
use open_night::OpenNight;

use crate::next_night::{SkippedNight, next_opening};
use crate::night::{Night, is_from_the_future};
use crate::plan::NightPlan;
use crate::record::Record;
use crate::settings::Settings;
use crate::stage::Stage;

#[derive(Debug)]
pub struct Agenda {
    /// The settings in force: those of the next night. The open night has its own.
    settings: Arc<Settings>,
    open: Option<OpenNight>,
    /// Every night that was ever open on this host, and the time of the last line in its record. Of a record that was not
    /// read it is the earliest possible time.
    recorded: BTreeMap<Night, Timestamp>,
    /// Records that an earlier process left open. One from the future waits until the clock has reached it.
    left_open: Vec<Record>,
    /// The night that was due when last seen, and why it did not open. Each reason is reported once.
    held: Option<Held>,
    /// The last night that was due and never opened, until another one opens.
    lost: Option<Held>,
    /// The newest record from the future, as last reported.
    from_the_future: Option<Night>,
    /// The night of the schedule that will not open, as last reported.
    skipped: Option<SkippedNight>,
}

impl Agenda {
    /// Continues from the records: `nights` are all that exist, `read` those that are open, and the newest one.
    pub fn new(settings: Arc<Settings>, nights: &[Night], read: Vec<Record>) -> Self {
        // An extra night may open up to a day before the night of the schedule, and no record may seem later than it is.
        let earliest = |date: Date| settings.window.opening(date.yesterday().unwrap_or(date));
        let mut recorded: BTreeMap<Night, Timestamp> =
            nights.iter().map(|night| (*night, earliest(night.date))).collect();
        recorded.extend(read.iter().map(|record| (record.night, record.newest)));
        let left_open = read.into_iter().filter(|record| record.closed.is_none()).collect();
        Self {
            settings,
            open: None,
            recorded,
            left_open,
            held: None,
            lost: None,
            from_the_future: None,
            skipped: None,
        }
    }

    /// The settings in force. A stage gets tonight's settings, which may be older, with [`Action::Start`].
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    pub fn night(&self) -> Option<&NightPlan> {
        self.open.as_ref().map(|open| &open.plan)
    }

    /// Whether the open night closes before its time.
    pub fn is_closing(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.early().is_some())
    }

    /// Whether a stage neither runs nor waits. A pull that has ended may still retry for missing sets.
    pub fn has_ended(&self, stage: Stage) -> bool {
        self.open.as_ref().is_none_or(|open| open.has_ended(stage))
    }

    /// The stages of the open night that must end before this one starts.
    pub fn waits_for(&self, stage: Stage) -> Vec<Stage> {
        self.open.as_ref().map(|open| open.waits_for(stage)).unwrap_or_default()
    }

    /// Why the night that is due does not open; else the last night that was due and never opened.
    pub fn held(&self, clock: Clock) -> Option<Held> {
        self.hold(clock).or_else(|| self.lost.clone())
    }

    /// When the next night opens.
    pub fn next_opening(&self, now: Timestamp) -> Timestamp {
        next_opening(&self.settings, now, |night| self.recorded.contains_key(&night))
    }

    /// The next night of the schedule, if it will not open.
    pub fn skipped(&self, now: Timestamp) -> Option<SkippedNight> {
        SkippedNight::next(&self.settings, now, |night| self.recorded.contains_key(&night))
    }

    /// Whether a night of the schedule should be open and never was.
    pub fn is_due(&self, night: Night, now: Timestamp) -> bool {
        self.due(now).is_some_and(|plan| plan.night == night)
    }

    /// Handles an event and returns what to do next. The last action is always [`Action::WakeAt`].
    pub fn step(&mut self, clock: Clock, event: Event) -> Vec<Action> {
        match event {
            Event::Tick => {}
            Event::Reloaded(settings) => self.reload(settings),
            Event::StageEnded(ended) => self.ended(clock.now, &ended),
            Event::LateSet => {
                if let Some(open) = &mut self.open {
                    open.gained_late();
                }
            }
        }
        self.advance(clock)
    }

    /// Handles a manual request, or returns why it is refused.
    pub fn request(&mut self, clock: Clock, request: ManualRequest) -> Result<Vec<Action>, Refusal> {
        if let Some(open) = &self.open {
            if clock.now >= open.plan.closes {
                return Err(Refusal::Closed(open.plan.night));
            }
            if open.early().is_some() {
                return Err(Refusal::Closing(open.plan.night));
            }
        }
        let mut actions = Vec::new();
        match request {
            ManualRequest::Night { night, again, stages: wanted, restored, backup } => {
                let roles = self.settings.roles();
                let stages = Stage::ALL.into_iter().filter(|it| it.runs_on(roles));
                let is_wanted = |it: &Stage| {
                    if wanted.is_empty() { it.makes().is_some() } else { wanted.contains(it) }
                };
                let stages: Vec<_> = stages.filter(is_wanted).collect();
                let extra = |plan: NightPlan| plan.common(restored, backup);
                let open = self.open_for(clock.now, Some(night), &stages, extra, &mut actions)?;
                open.hasten(clock.now);
                if again {
                    open.demand(&open.made(), clock.now, true)?;
                }
            }
            ManualRequest::Stages { stages, night, again } => {
                let roles = self.settings.roles();
                if let Some(stage) = stages.iter().find(|stage| !stage.runs_on(roles)) {
                    return Err(Refusal::NotForThisHost { stage: *stage, roles: roles.to_string() });
                }
                // The outbox belongs to every night, so what is in it can be shipped in a new one.
                let new = stages == [Stage::ShipArchive];
                let night = if new || night.is_some() { Some(night) } else { None };
                let open = self.open_for(clock.now, night, &stages, |plan| plan, &mut actions)?;
                open.demand(&stages, clock.now, again)?;
            }
            ManualRequest::Close => match &mut self.open {
                Some(open) if open.plan.night.is_extra() => open.close_early("an operator closed it".into()),
                Some(open) => return Err(Refusal::Scheduled(open.plan.night)),
                None => return Err(Refusal::NoExtraNight),
            },
            ManualRequest::Restored => {
                if let Some(open) = self.open.as_mut().filter(|open| !open.plan.night.is_extra()) {
                    open.close_early("the cluster was restored; an extra night follows".into());
                }
            }
        }
        actions.extend(self.advance(clock));
        Ok(actions)
    }

    /// The open night, if the request names none or this one; else a new extra night of the named one, or of the next free
    /// name of today, completed by `extra`. `None` opens no night.
    fn open_for(
        &mut self,
        now: Timestamp,
        wanted: Option<Option<Night>>,
        stages: &[Stage],
        extra: impl FnOnce(NightPlan) -> NightPlan,
        actions: &mut Vec<Action>,
    ) -> Result<&mut OpenNight, Refusal> {
        let named = wanted.flatten();
        if let Some(open) = &self.open
            && named.is_some_and(|night| open.plan.night != night)
        {
            return Err(Refusal::OtherNightOpen(open.plan.night));
        }
        if self.open.is_none() {
            let night = match wanted.ok_or(Refusal::NoNight)? {
                Some(night) => self.admit(night, now)?,
                None => self.next_extra(now)?,
            };
            let plan = extra(NightPlan::extra(&self.settings, night, now, stages));
            actions.push(self.begin(plan));
        }
        self.open.as_mut().ok_or(Refusal::NoNight)
    }

    /// Which nights a request may open: an extra night of today or yesterday that has no record.
    fn admit(&self, night: Night, now: Timestamp) -> Result<Night, Refusal> {
        let window = &self.settings.window;
        if self.recorded.contains_key(&night) {
            Err(Refusal::Recorded(night))
        } else if !window.is_current(night, now) {
            Err(Refusal::NotCurrent { night, today: window.today(now) })
        } else if !night.is_extra() {
            Err(Refusal::Scheduled(night))
        } else {
            Ok(night)
        }
    }

    fn next_extra(&self, now: Timestamp) -> Result<Night, Refusal> {
        let date = self.settings.window.today(now);
        Night::free_extra(date, self.recorded.keys().copied()).ok_or(Refusal::NoNameLeft(date))
    }

    fn begin(&mut self, plan: NightPlan) -> Action {
        self.open = Some(OpenNight::fresh(Arc::clone(&self.settings), plan.clone()));
        self.recorded.insert(plan.night, plan.opens);
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
        self.recorded.entry(open.plan.night).and_modify(|newest| *newest = now.max(*newest)).or_insert(now);
    }

    fn advance(&mut self, clock: Clock) -> Vec<Action> {
        let mut actions = Vec::new();
        self.report_future(clock.now, &mut actions);
        self.report_skipped(clock.now, &mut actions);
        self.close_if_over(clock, &mut actions);
        while self.open.is_none() && self.resume(clock.now, &mut actions) {
            self.close_if_over(clock, &mut actions);
        }
        self.open_if_due(clock, &mut actions);
        if let Some(open) = &mut self.open {
            open.start_what_is_due(clock, &mut actions);
        }
        // `start_what_is_due` may have recorded the last stage of an extra night as missed.
        self.close_if_over(clock, &mut actions);
        actions.push(Action::WakeAt(self.next_wake(clock.now)));
        actions
    }

    /// Continues the newest record that was left open.
    fn resume(&mut self, now: Timestamp, actions: &mut Vec<Action>) -> bool {
        let current = self.left_open.iter().enumerate();
        let current = current.filter(|(_, record)| !is_from_the_future(record.newest, now));
        let Some((at, _)) = current.max_by_key(|(_, record)| record.newest) else { return false };
        let open = OpenNight::resumed(Arc::clone(&self.settings), &self.left_open.swap_remove(at));
        actions.push(Action::Resume(open.plan.clone()));
        self.open = Some(open);
        true
    }

    fn close_if_over(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        let now = clock.now;
        let due = self.due(now).filter(|_| clock.doubt(self.newest(now)).is_none());
        let Some(open) = &mut self.open else { return };
        let extra = open.plan.night.is_extra();
        let early = if is_from_the_future(open.plan.opens, now) {
            Some("the clock went back by more than 36 h".to_owned())
        } else {
            due.filter(|_| extra).map(|due| format!("night {} of the schedule opens", due.night))
        };
        let all_ended = open.all_ended();
        let over = now >= open.plan.closes || early.is_some() || open.early().is_some();
        if let Some(reason) = early.filter(|_| !all_ended) {
            open.close_early(reason);
        }
        if over {
            open.wind_up(now, actions);
        }
        if (over && open.all_ended()) || (extra && all_ended) {
            actions.push(Action::Close { early: open.early().cloned() });
            self.open = None;
        }
    }

    fn open_if_due(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        let held = self.hold(clock);
        if let Some(before) =
            self.held.take_if(|before| Some(before.night) != held.as_ref().map(|it| it.night))
            && !self.recorded.contains_key(&before.night)
            && self.due(clock.now).is_none_or(|plan| plan.night != before.night)
        {
            actions.push(Action::Lost(before.clone()));
            self.lost = Some(before);
        }
        if let Some(held) = held {
            if self.held.as_ref().is_none_or(|before| before.reason != held.reason) {
                actions.push(Action::Hold(held.clone()));
            }
            self.held = Some(held);
        } else if let Some(plan) = self.due(clock.now) {
            (self.held, self.lost) = (None, None);
            actions.push(self.begin(plan));
        }
    }

    /// The night of the schedule that should be open and never was. A closed night never opens again, also when the clock
    /// jumps back into it.
    fn due(&self, now: Timestamp) -> Option<NightPlan> {
        let night = Night::of(self.settings.window.open_at(now)?);
        let plan =
            (!self.recorded.contains_key(&night)).then(|| NightPlan::of(&self.settings, night.date))?;
        (!plan.stages.is_empty()).then_some(plan)
    }

    /// Why the night that is due does not open now.
    fn hold(&self, clock: Clock) -> Option<Held> {
        let plan = self.due(clock.now)?;
        let newest = self.newest(clock.now);
        let (night, since) = (plan.night, plan.opens);
        match (clock.doubt(newest), &self.open) {
            (Some(doubt), _) => {
                let reason = clock.explain(doubt, newest, &self.settings.window.zone);
                let opens = clock.opens_at(doubt, newest).filter(|opens| *opens < plan.closes);
                Some(Held { night, since, reason, clock: true, opens })
            }
            (None, Some(open)) => {
                let reason = format!("night {} has to close first", open.plan.night);
                Some(Held { night, since, reason, clock: false, opens: None })
            }
            (None, None) => None,
        }
    }

    /// The time of the newest line in any record, except in those from the future.
    fn newest(&self, now: Timestamp) -> Option<Timestamp> {
        self.recorded.values().copied().filter(|at| !is_from_the_future(*at, now)).max()
    }

    fn report_future(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let mut future = self.recorded.iter().rev().filter(|(_, at)| is_from_the_future(**at, now));
        let newest = future.next().map(|(night, _)| *night);
        if newest != self.from_the_future {
            actions.extend(newest.map(Action::FutureRecord));
            self.from_the_future = newest;
        }
    }

    fn report_skipped(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let skipped = self.skipped(now);
        if skipped != self.skipped {
            actions.extend(skipped.map(Action::Skip));
            self.skipped = skipped;
        }
    }

    fn next_wake(&self, now: Timestamp) -> Timestamp {
        let next_night = self.settings.window.opening(self.settings.window.next_after(now));
        let own = self.open.as_ref().and_then(|open| open.next_wake(now));
        let held = self.held.as_ref().and_then(|held| held.opens).filter(|at| *at > now);
        [own, held].into_iter().flatten().fold(next_night, Timestamp::min)
    }
}
