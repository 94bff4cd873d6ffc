//! The open night: how far each stage has come, and what is due next.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::clock::Clock;
use super::progress::{Progress, State};
use super::{Action, Ended, Refusal};
use crate::backoff;
use crate::outcome::Outcome;
use crate::plan::NightPlan;
use crate::record::{Fate, Record, Why};
use crate::settings::Settings;
use crate::stage::Stage;

/// So long before the closing it looks for the last time.
const LAST_LOOK: SignedDuration = SignedDuration::from_mins(30);
/// What starts this much after its time is said to be caught up.
const LATE_START: SignedDuration = SignedDuration::from_mins(2);
/// How often a pull whose waiting is over looks once more for what was missing.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(15);

#[derive(Debug)]
pub(super) struct OpenNight {
    /// As they were when it opened, but for what a reload may change.
    settings: Arc<Settings>,
    pub(super) plan: NightPlan,
    stages: BTreeMap<Stage, Progress>,
    /// Something came after packing, so the archive is packed once more when no look is left.
    gained: bool,
}

impl OpenNight {
    pub(super) fn fresh(settings: Arc<Settings>, plan: NightPlan) -> Self {
        let stages = plan.stages.iter().map(|planned| (planned.stage, Progress::waiting())).collect();
        Self { settings, plan, stages, gained: false }
    }

    pub(super) fn has_ended(&self, stage: Stage) -> bool {
        self.stages.get(&stage).is_none_or(|progress| progress.state == State::Ended)
    }

    pub(super) fn all_ended(&self) -> bool {
        self.stages.values().all(|progress| progress.state == State::Ended)
    }

    /// Takes note of how a stage ended, and decides whether and when it runs once more.
    pub(super) fn ended(&mut self, now: Timestamp, ended: &Ended) {
        // What comes before anything is packed needs no second archive.
        let packed = self.stages.get(&Stage::PackArchive).is_some_and(|pack| pack.attempts > 0);
        self.gained |= ended.gained && packed;
        let Some(planned) = self.plan.stage(ended.stage) else { return };
        let (until, last_look) = (planned.until, self.plan.closes.checked_sub(LAST_LOOK).unwrap_or(now));
        let wanted = self.settings.stages.get(ended.stage);
        let seed = format!("{}/{}/{}", self.settings.this, self.plan.night, ended.stage);
        let Some(progress) = self.stages.get_mut(&ended.stage) else { return };

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
    }

    /// A night that the record left open: what has ended stays ended, what was cut short begins again.
    pub(super) fn resumed(settings: Arc<Settings>, record: &Record) -> Self {
        let plan = if record.night.is_extra() {
            NightPlan::extra(&settings, record.night, record.opened, &record.planned)
        } else {
            NightPlan::of(&settings, record.night.date)
        };
        let mut open = Self::fresh(Arc::clone(&settings), plan);
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

    /// Takes the new times, `until` and retries of what has not begun. Hosts, roles and the night's own opening
    /// and closing stay as they were when it opened.
    pub(super) fn retime(&mut self, fresh: &Settings) {
        self.settings = Arc::new(Settings { stages: fresh.stages.clone(), ..(*self.settings).clone() });
        self.replan(NightPlan::of(&self.settings, self.plan.night.date));
    }

    fn replan(&mut self, fresh: NightPlan) {
        let begun = |stages: &BTreeMap<Stage, Progress>, stage| {
            stages.get(&stage).is_some_and(|progress: &Progress| progress.attempts > 0)
        };
        let kept: Vec<_> =
            self.plan.stages.iter().filter(|planned| begun(&self.stages, planned.stage)).cloned().collect();
        let mut planned: Vec<_> =
            fresh.stages.into_iter().filter(|planned| !begun(&self.stages, planned.stage)).collect();
        for stage in &mut planned {
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
    pub(super) fn hasten(&mut self, now: Timestamp) {
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

    pub(super) fn demand(&mut self, stages: &[Stage], now: Timestamp) -> Result<(), Refusal> {
        let running = |stage: &&Stage| self.stages.get(*stage).is_some_and(|p| p.state == State::Running);
        if let Some(stage) = stages.iter().find(running) {
            return Err(Refusal::Running(*stage));
        }
        let extra = NightPlan::extra(&self.settings, self.plan.night, now, stages);
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

    pub(super) fn start_what_is_due(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        self.repack_if_gained(clock.now);
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
    fn repack_if_gained(&mut self, now: Timestamp) {
        let looking = self.stages.iter().any(|(stage, progress)| {
            stage.pulls().is_some() && (progress.look_again.is_some() || progress.state != State::Ended)
        });
        let packed = self.stages.get(&Stage::PackArchive).is_some_and(|p| p.state == State::Ended);
        let shipping = self.stages.get(&Stage::ShipArchive).is_some_and(|p| p.state == State::Running);
        if !self.gained || looking || !packed || shipping || now >= self.plan.closes {
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
    pub(super) fn wind_up(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
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

    pub(super) fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
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
